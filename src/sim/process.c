// SPDX-License-Identifier: ISC
// Programs in the simulated world: they read all, and the driver says what came of it.
#include "sim/inside.h"
#include "sys/process.h"

struct process {
    struct event fed, ends; // pending: what was written is taken; it ends
    const struct process_events *events;
    void *ctx;
    char **argv, **env; // the process's own memory, as all here
    struct buf input;
    struct world_program result;
    char *output;
    size_t output_max;
    enum sim_owner owner;
};

static void (*run_fn)(void *ctx, const char *const *argv, const char *const *env, struct str input,
                      struct world_program *out);
static void *run_ctx;

void world_on_program(void (*run)(void *ctx, const char *const *argv, const char *const *env,
                                  struct str input, struct world_program *out),
                      void *ctx)
{
    run_fn = run;
    run_ctx = ctx;
}

static char *copy_text(enum sim_owner owner, const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = sim_alloc(owner, len);
    memcpy(copy, text, len);
    return copy;
}

static char **copy_words(enum sim_owner owner, const char *const *words)
{
    size_t count = 0;
    while (words[count] != NULL)
        count++;
    char **copy = sim_alloc(owner, (count + 1) * sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = copy_text(owner, words[i]);
    return copy;
}

static void free_words(char **words)
{
    for (size_t i = 0; words[i] != NULL; i++)
        xfree(words[i]);
    xfree(words);
}

static void on_fed(struct event *event)
{
    struct process *p = container_of(event, struct process, fed);
    SIM_CALLBACK(event->loop, p->events->hungry(p->ctx));
}

static void on_end(struct event *event)
{
    struct process *p = container_of(event, struct process, ends);
    event_cancel(&p->fed);
    struct process_end end = {.status = p->result.signal != 0 ? -1 : p->result.status,
                              .signal = p->result.signal,
                              .output = str_make(p->output, strnlen(p->output, p->output_max))};
    SIM_CALLBACK(event->loop, p->events->ended(p->ctx, &end));
}

struct process *process_new(struct loop *loop, const struct process_how *how,
                            const struct process_events *events, void *ctx, struct err *err)
{
    SIM_CALL;
    struct process *p = sim_alloc(SIM_CALLER, sizeof(*p));
    p->events = events;
    p->ctx = ctx;
    p->owner = SIM_CALLER;
    p->argv = copy_words(SIM_CALLER, how->argv);
    p->env = copy_words(SIM_CALLER, how->env);
    p->output = copy_text(SIM_CALLER, "");
    p->output_max = how->output_max;
    buf_init(&p->input, SIZE_MAX / 4);
    event_init(&p->fed, loop, on_fed);
    event_init(&p->ends, loop, on_end);
    return p;
}

void process_write(struct process *p, const void *bytes, size_t len)
{
    SIM_CALL;
    sim.owner = p->owner;
    buf_append(&p->input, bytes, len);
    sim.owner = SIM_WORLD;
    event_at(&p->fed, sim_departs_us() + 10 + (int64_t)sim_below(500));
}

void process_end_input(struct process *p)
{
    SIM_CALL;
    if (event_pending(&p->ends))
        return;
    if (run_fn != NULL)
        run_fn(run_ctx, (const char *const *)p->argv, (const char *const *)p->env,
               buf_str(&p->input), &p->result);
    if (p->result.output != NULL) {
        xfree(p->output);
        p->output = copy_text(p->owner, p->result.output);
    }
    sim_trace((uint64_t)p->result.status + 1);
    event_at(&p->ends, sim_departs_us() + 100 + p->result.takes_ms * 1000);
}

void process_free(struct process **process)
{
    struct process *p = *process;
    if (p == NULL)
        return;
    SIM_CALL;
    *process = NULL;
    event_cancel(&p->fed);
    event_cancel(&p->ends);
    free_words(p->argv);
    free_words(p->env);
    xfree(p->output);
    buf_free(&p->input);
    xfree(p);
}
