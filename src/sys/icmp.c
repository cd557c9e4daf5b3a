// SPDX-License-Identifier: ISC
// ICMP messages out of a socket's queue of errors.
#include "sys/icmp.h"

#include "sys/sockaddr.h"

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

static bool is_prohibited(const struct sock_extended_err *e)
{
    enum { POLICY_FAILED = 5, ROUTE_REJECTED = 6 }; // RFC 4443
    if (e->ee_origin == SO_EE_ORIGIN_ICMP && e->ee_type == ICMP_DEST_UNREACH)
        return e->ee_code == ICMP_NET_ANO || e->ee_code == ICMP_HOST_ANO ||
               e->ee_code == ICMP_PKT_FILTERED;
    return e->ee_origin == SO_EE_ORIGIN_ICMP6 && e->ee_type == ICMP6_DST_UNREACH &&
           (e->ee_code == ICMP6_DST_UNREACH_ADMIN || e->ee_code == POLICY_FAILED ||
            e->ee_code == ROUTE_REJECTED);
}

static bool read_word(const struct cmsghdr *c, struct icmp_word *out)
{
    struct {
        struct sock_extended_err err;
        struct sockaddr_in6 from; // the longer one
    } word = {0};
    bool mine = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
    size_t len = c->cmsg_len - CMSG_LEN(0);
    if (!mine || len < sizeof(word.err))
        return false;
    memcpy(&word, CMSG_DATA(c), len < sizeof(word) ? len : sizeof(word));
    if (word.err.ee_origin != SO_EE_ORIGIN_ICMP && word.err.ee_origin != SO_EE_ORIGIN_ICMP6)
        return false;
    out->prohibited = is_prohibited(&word.err);
    sockaddr_to((const struct sockaddr *)&word.from, sizeof(word.from), &out->from);
    return true;
}

bool icmp_heard(int fd, struct icmp_word *out)
{
    _Alignas(struct cmsghdr) char control[512];
    char packet[64]; // what we had sent; of no interest
    struct iovec iov = {packet, sizeof(packet)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    *out = (struct icmp_word){0};
    if (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c))
        if (read_word(c, out))
            return true;
    return false;
}
