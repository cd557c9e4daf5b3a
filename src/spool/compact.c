// SPDX-License-Identifier: ISC
// placeholder
#include "spool/keep_int.h"
void compact_look(struct keeper *k)
{
}
