// SPDX-License-Identifier: ISC
// The loop: order of messages, timers, deferred work, signals, descriptors, and a clean end.
#include "base/mem.h"
#include "sys/loop_int.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { SENDERS = 4, PER_SENDER = 20000 };

static void stop_at_last(void *ctx)
{
    loop_stop(ctx);
}

// Ends the test as a failure instead of hanging.
static void never(void *ctx)
{
    fail_msg("%s did not happen in time", (const char *)ctx);
}

// --- messages

struct numbered {
    struct post post;
    struct sink *sink;
    int sender, number;
};
struct sink {
    struct loop *loop;
    int next[SENDERS];
    int total;
    bool disordered;
};
struct sender {
    struct loop *loop;
    struct sink *sink;
    struct defer defer;
    int index;
};

static void take_numbered(struct post *post)
{
    struct numbered *n = (struct numbered *)post;
    struct sink *sink = n->sink;
    sink->disordered |= n->number != sink->next[n->sender];
    sink->next[n->sender] = n->number + 1;
    if (++sink->total == SENDERS * PER_SENDER)
        loop_stop(sink->loop);
    xfree(n);
}

static void send_all(void *ctx)
{
    struct sender *s = ctx;
    for (int i = 0; i < PER_SENDER; i++) {
        struct numbered *n = xcalloc(1, sizeof(*n));
        *n = (struct numbered){{.run = take_numbered}, s->sink, s->index, i};
        loop_post(s->sink->loop, &n->post);
    }
}

static void posts_from_many_threads_arrive_all_and_in_order(void **state)
{
    struct sink sink = {.loop = loop_new("sink")};
    struct sender senders[SENDERS] = {0};
    struct timer guard;
    timer_init(&guard, sink.loop, never, "the last message");
    timer_start(&guard, 60000);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].index = i;
        senders[i].sink = &sink;
        senders[i].loop = loop_new("sender");
        loop_defer(senders[i].loop, &senders[i].defer, send_all, &senders[i]);
        loop_start(senders[i].loop);
    }
    loop_run(sink.loop);
    assert_int_equal(sink.total, SENDERS * PER_SENDER);
    assert_false(sink.disordered);
    for (int i = 0; i < SENDERS; i++) {
        loop_stop(senders[i].loop);
        loop_join(senders[i].loop);
        loop_free(&senders[i].loop);
        assert_null(senders[i].loop);
    }
    loop_free(&sink.loop);
}

struct count_post {
    struct post post;
    int *count;
    struct loop *loop;
};
static void count_it(struct post *post)
{
    ++*((struct count_post *)post)->count;
}

static void stop_comes_after_the_messages_before_it(void **state)
{
    struct loop *loop = loop_new("target");
    int count = 0;
    struct count_post posts[100];
    for (int i = 0; i < 100; i++) {
        posts[i] = (struct count_post){{.run = count_it}, &count};
        loop_post(loop, &posts[i].post);
    }
    loop_stop(loop);
    loop_stop(loop); // twice is fine
    loop_start(loop);
    loop_join(loop);
    assert_int_equal(count, 100);
    loop_free(&loop);
}

static void a_message_may_be_sent_to_the_own_loop(void **state)
{
    struct loop *loop = loop_new("self");
    int count = 0;
    struct count_post post = {{.run = count_it}, &count};
    struct timer end;
    timer_init(&end, loop, stop_at_last, loop);
    timer_start(&end, 5);
    loop_post(loop, &post.post);
    loop_run(loop);
    assert_int_equal(count, 1);
    loop_free(&loop);
}

static struct count_post *unwanted;
static void take_the_unwanted_back(struct post *post)
{
    count_it(post);
    assert_true(loop_take_back(unwanted->loop, &unwanted->post));
    assert_false(loop_take_back(unwanted->loop, &unwanted->post));
}

// Behind the one that runs, in the middle of what was posted since, and when the loop does not run.
static void a_message_can_be_taken_back(void **state)
{
    struct loop *loop = loop_new("back");
    int count = 0;
    struct count_post posts[5];
    for (int i = 0; i < 5; i++)
        posts[i] = (struct count_post){{.run = count_it}, &count, loop};
    struct timer end;
    timer_init(&end, loop, stop_at_last, loop);
    timer_start(&end, 5);
    unwanted = &posts[1];
    posts[0].post.run = take_the_unwanted_back;
    for (int i = 0; i < 4; i++)
        loop_post(loop, &posts[i].post);
    assert_true(loop_take_back(loop, &posts[2].post));
    assert_false(loop_take_back(loop, &posts[4].post));
    loop_run(loop);
    assert_int_equal(count, 2); // the first and the fourth
    loop_post(loop, &posts[4].post);
    assert_true(loop_take_back(loop, &posts[4].post));
    loop_free(&loop);
}

struct ball {
    struct post post;
    struct loop *side[2];
    int hops;
};
static void hit(struct post *post)
{
    struct ball *ball = (struct ball *)post;
    if (ball->hops-- == 0) {
        loop_stop(ball->side[0]);
        loop_stop(ball->side[1]);
    } else {
        loop_post(ball->side[ball->hops % 2], post);
    }
}

static void no_wake_up_is_lost_between_two_loops(void **state)
{
    // One message in flight: if either loop slept while it waits, everything would stand still.
    struct ball ball = {{.run = hit}, {loop_new("left"), loop_new("right")}, 50000};
    struct timer guard;
    timer_init(&guard, ball.side[0], never, "the end of the game");
    timer_start(&guard, 60000);
    loop_post(ball.side[0], &ball.post);
    loop_start(ball.side[1]);
    loop_run(ball.side[0]);
    loop_join(ball.side[1]);
    assert_int_equal(ball.hops, -1);
    loop_free(&ball.side[0]);
    loop_free(&ball.side[1]);
}

// --- timers

struct trace {
    struct loop *loop;
    char text[64];
};
struct traced {
    struct timer timer;
    struct trace *trace;
    char mark;
};
static void mark(void *ctx)
{
    struct traced *t = ctx;
    size_t len = strlen(t->trace->text);
    t->trace->text[len] = t->mark;
    t->trace->text[len + 1] = '\0';
    if (t->mark == '.')
        loop_stop(t->trace->loop);
}

static void timers_run_in_order_and_obey_stop_and_restart(void **state)
{
    struct trace trace = {.loop = loop_new("timers")};
    struct traced t[6];
    const char marks[6] = "abcde.";
    const int after[6] = {30, 10, 20, 15, 5, 60};
    for (int i = 0; i < 6; i++) {
        t[i].trace = &trace;
        t[i].mark = marks[i];
        timer_init(&t[i].timer, trace.loop, mark, &t[i]);
        assert_false(timer_running(&t[i].timer));
        timer_stop(&t[i].timer); // harmless
        timer_start(&t[i].timer, after[i]);
        assert_true(timer_running(&t[i].timer));
    }
    timer_stop(&t[3].timer); // d never runs
    timer_stop(&t[3].timer);
    timer_start(&t[1].timer, 40); // b goes behind a
    timer_start(&t[0].timer, 1);  // a comes first
    loop_run(trace.loop);
    assert_string_equal(trace.text, "aecb.");
    for (int i = 0; i < 6; i++)
        assert_false(timer_running(&t[i].timer));
    loop_free(&trace.loop);
}

struct renewing {
    struct timer timer;
    int left;
};
static void renew(void *ctx)
{
    struct renewing *r = ctx;
    if (--r->left == 0)
        loop_stop(r->timer.loop);
    else
        timer_start(&r->timer, 0);
}

static void a_timer_may_restart_itself_at_once(void **state)
{
    struct loop *loop = loop_new("renew");
    struct renewing r = {.left = 1000};
    timer_init(&r.timer, loop, renew, &r);
    timer_start(&r.timer, -5); // the past is now
    loop_run(loop);
    assert_int_equal(r.left, 0);
    loop_free(&loop);
}

struct late {
    struct timer timer;
    int64_t want_ms;
    int *left;
};
static void judge_late(void *ctx)
{
    struct late *l = ctx;
    int64_t off = loop_now_ms(l->timer.loop) - l->want_ms;
    assert_true(off >= 0 && off < 2000); // never early; the bound is for machines under load
    if (--*l->left == 0)
        loop_stop(l->timer.loop);
}

static void many_timers_each_run_once_and_never_early(void **state)
{
    enum { COUNT = 2000 };
    struct loop *loop = loop_new("many");
    struct late *late = xcalloc(COUNT, sizeof(*late));
    int left = 0;
    for (int i = 0; i < COUNT; i++) {
        timer_init(&late[i].timer, loop, judge_late, &late[i]);
        int after = i * 7919 % 100;
        timer_start(&late[i].timer, i * 31 % 500);
        late[i].want_ms = loop_now_ms(loop) + after;
        timer_start(&late[i].timer, after);
        late[i].left = &left;
        left++;
        if (i % 3 == 0) {
            timer_stop(&late[i].timer);
            left--;
        }
    }
    loop_run(loop);
    assert_int_equal(left, 0);
    xfree(late);
    loop_free(&loop);
}

// --- deferred work

struct batch {
    struct loop *loop;
    struct defer defer, other, endless;
    struct count_post posts[10];
    int posted, flushed, flushed_at, others, rounds;
};
static void flush(void *ctx)
{
    struct batch *b = ctx;
    b->flushed++;
    b->flushed_at = b->posted;
}
static void take_and_defer(struct post *post)
{
    struct batch *b = (struct batch *)((struct count_post *)post)->count;
    b->posted++;
    loop_defer(b->loop, &b->defer, flush, b);
}

static void deferred_work_runs_once_after_the_events_at_hand(void **state)
{
    struct batch b = {.loop = loop_new("defer")};
    for (int i = 0; i < 10; i++) {
        b.posts[i] = (struct count_post){{.run = take_and_defer}, (int *)&b};
        loop_post(b.loop, &b.posts[i].post);
    }
    loop_stop(b.loop);
    loop_run(b.loop);
    assert_int_equal(b.posted, 10);
    assert_int_equal(b.flushed, 1);
    assert_int_equal(b.flushed_at, 10);
    loop_free(&b.loop);
}

static void not_called(void *ctx)
{
    fail();
}
static void cancel_other(void *ctx)
{
    struct batch *b = ctx;
    b->others++;
    defer_cancel(&b->other);
}

static void deferred_work_can_be_cancelled_even_by_its_neighbour(void **state)
{
    struct batch b = {.loop = loop_new("cancel")};
    loop_defer(b.loop, &b.defer, cancel_other, &b);
    loop_defer(b.loop, &b.other, not_called, &b);
    loop_defer(b.loop, &b.endless, not_called, &b);
    defer_cancel(&b.endless);
    defer_cancel(&b.endless);
    loop_stop(b.loop);
    loop_run(b.loop);
    assert_int_equal(b.others, 1);
    loop_free(&b.loop);
}

static void again(void *ctx)
{
    struct batch *b = ctx;
    b->rounds++;
    loop_defer(b->loop, &b->endless, again, b);
}

static void endless_deferring_starves_neither_timers_nor_messages(void **state)
{
    struct batch b = {.loop = loop_new("endless")};
    struct timer end;
    loop_defer(b.loop, &b.endless, again, &b);
    timer_init(&end, b.loop, stop_at_last, b.loop);
    timer_start(&end, 20);
    loop_run(b.loop);
    assert_true(b.rounds > 1);
    defer_cancel(&b.endless);
    loop_free(&b.loop);
}

static void start_defer(void *ctx)
{
    struct batch *b = ctx;
    loop_defer(b->loop, &b->defer, stop_at_last, b->loop);
}

static void work_deferred_by_a_timer_does_not_wait_for_the_next_event(void **state)
{
    struct batch b = {.loop = loop_new("timer-defer")};
    struct timer first, guard;
    timer_init(&first, b.loop, start_defer, &b);
    timer_init(&guard, b.loop, never, "the deferred work");
    timer_start(&first, 1);
    timer_start(&guard, 20000);
    loop_run(b.loop);
    loop_free(&b.loop);
}

// --- signals and descriptors

struct signals {
    struct loop *loop;
    int seen;
};
static void on_usr1(void *ctx, int signo)
{
    struct signals *s = ctx;
    assert_int_equal(signo, SIGUSR1);
    s->seen++;
    loop_stop(s->loop);
}

static void signals_reach_the_loop_that_asked(void **state)
{
    struct signals s = {.loop = loop_new("main")};
    struct loop *other = loop_new("other");
    loop_on_signal(s.loop, SIGUSR1, on_usr1, &s);
    loop_start(other); // blocks all signals, so this one cannot land there
    kill(getpid(), SIGUSR1);
    loop_run(s.loop);
    assert_int_equal(s.seen, 1);
    struct sigaction now;
    sigaction(SIGPIPE, NULL, &now);
    assert_true(now.sa_handler == SIG_IGN);
    loop_stop(other);
    loop_join(other);
    loop_free(&other);
    loop_free(&s.loop);
}

struct reader {
    struct loop *loop;
    struct fd_watch *watch;
    int fd;
    char got[8];
};
static void read_some(void *ctx)
{
    struct reader *r = ctx;
    char c;
    if (read(r->fd, &c, 1) == 1) {
        r->got[strlen(r->got)] = c;
    } else {
        fd_watch_free(&r->watch); // from inside its own call
        close(r->fd);
        loop_stop(r->loop);
    }
}

static void a_watched_descriptor_is_read_to_its_end(void **state)
{
    struct reader r = {.loop = loop_new("fd")};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    r.fd = ends[0];
    r.watch = fd_watch_new(r.loop, ends[0], read_some, &r);
    assert_int_equal(write(ends[1], "abc", 3), 3);
    close(ends[1]);
    loop_run(r.loop);
    assert_string_equal(r.got, "abc");
    assert_null(r.watch);
    fd_watch_free(&r.watch);
    loop_free(&r.loop);
}

static void count_exit(void *ctx)
{
    ++*(int *)ctx;
}

static void the_end_calls_who_asked_for_it(void **state)
{
    struct loop *loop = loop_new("exit");
    struct loop_exit stay = {0}, gone = {0};
    int count = 0;
    loop_on_exit(loop, &stay, count_exit, &count);
    loop_on_exit(loop, &gone, count_exit, &count);
    loop_exit_cancel(&gone);
    loop_free(&loop); // it never ran
    assert_int_equal(count, 1);
    loop_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts_from_many_threads_arrive_all_and_in_order),
        cmocka_unit_test(no_wake_up_is_lost_between_two_loops),
        cmocka_unit_test(stop_comes_after_the_messages_before_it),
        cmocka_unit_test(a_message_may_be_sent_to_the_own_loop),
        cmocka_unit_test(timers_run_in_order_and_obey_stop_and_restart),
        cmocka_unit_test(a_timer_may_restart_itself_at_once),
        cmocka_unit_test(many_timers_each_run_once_and_never_early),
        cmocka_unit_test(deferred_work_runs_once_after_the_events_at_hand),
        cmocka_unit_test(deferred_work_can_be_cancelled_even_by_its_neighbour),
        cmocka_unit_test(a_message_can_be_taken_back),
        cmocka_unit_test(endless_deferring_starves_neither_timers_nor_messages),
        cmocka_unit_test(work_deferred_by_a_timer_does_not_wait_for_the_next_event),
        cmocka_unit_test(signals_reach_the_loop_that_asked),
        cmocka_unit_test(a_watched_descriptor_is_read_to_its_end),
        cmocka_unit_test(the_end_calls_who_asked_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
