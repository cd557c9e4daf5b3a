// SPDX-License-Identifier: ISC
// Where the machine of a story is: its links and what NetworkManager would say.
#pragma once

#include "base/err.h"
#include "conf/yaml.h"

void place_new(void); // as the simulated world begins: one link, one address, a way out
// `{eth0: 10.20.3.4/24, wg0: {address: [...], kind: wireguard}, wlan0: down, ppp0: gone}`. The
// first time the links that were there before go.
bool place_links(const struct yaml_node *what, struct err *err);
void place_links_gone(const struct yaml_node *what); // all of those it names
// `{id: Office LAN, type: wifi, ssid: ..., interface: wlan0, metered: yes, captive: no}`, a list of
// them, or `none`.
bool place_connection(const struct yaml_node *what, struct err *err);
