// SPDX-License-Identifier: ISC
// What a reload would change, in words.
#pragma once

#include "base/buf.h"
#include "conf/conf.h"

// One line a change, "+ gateway isp", "- listener scanner", "~ gateway isp: rate, password"; what
// takes a restart says so. Nothing when both are alike. Secrets are compared, never shown.
void conf_diff(const struct conf *old_conf, const struct conf *new_conf, struct buf *out);
