// SPDX-License-Identifier: ISC
// How each mail program is told to hand its mail to Waypost.
#pragma once

#include "conf/conf.h"

// False: no such program is known; then all names were printed.
bool setup_client(const struct conf *conf, const char *name);
void setup_clients_list(void); // the names, a line each with the program's full name
