// SPDX-License-Identifier: ISC
// Sizes, numbers and moments as people read them, and what they type back.
#pragma once

#include "base/buf.h"
#include "queue/queue_view.h"

enum { WORDS_TEXT = 48 };

const char *words_size(uint64_t bytes, char text[WORDS_TEXT]);    // "812 B", "4.1 kB", "31.0 MB"
const char *words_number(uint64_t number, char text[WORDS_TEXT]); // "4,812"
// Local: "09:00", "tomorrow 09:00", "Tue 24 Nov 09:00"; of the past as well.
const char *words_when(int64_t wall_ms, int64_t now_ms, char text[WORDS_TEXT]);
// Local: "2026-11-21 14:02:11.204", as in timelines.
const char *words_moment(int64_t wall_ms, char text[WORDS_TEXT]);
// "4,812 of 10,000 messages today, resets 09:00"; with `forecast` also when it will be used up.
void words_quota(const struct queue_quota_view *quota, int64_t now_ms, bool forecast,
                 struct buf *out);

// "10M", "300k", "2GiB", "1234": octets, in powers of 1024. False on anything else.
bool words_parse_size(struct str text, uint64_t *bytes_out);
// "2026-12-01 08:00", "2026-12-01", "08:00" (today): local time; "2026-12-01T08:00:00Z" (RFC 3339).
// An hour that a change of the clocks leaves out counts from before the change, one that comes
// twice is the first. False on anything else.
bool words_parse_when(struct str text, int64_t now_ms, int64_t *wall_ms_out);
// Also "+2h", and "08:00" is that of tomorrow when today's has passed.
bool words_parse_future(struct str text, int64_t now_ms, int64_t *wall_ms_out);
