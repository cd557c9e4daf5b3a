// SPDX-License-Identifier: ISC
// What a story expects at a moment.
#pragma once

#include "base/buf.h"
#include "conf/conf.h"
#include "conf/yaml.h"

struct queue;
// False with what is otherwise, in words.
bool expect_holds(struct queue *q, const struct conf *conf, const struct yaml_node *what,
                  struct buf *wrong);
