// SPDX-License-Identifier: ISC
// The schema and the connection, shared by the index's two sides.
#pragma once

#include "base/err.h"

#include <sqlite3.h>
#include <stdbool.h>

enum { INDEX_VERSION = 1 };

// Opens <dir>/index.db. NULL with err.
sqlite3 *index_db_open(const char *dir, int flags, struct err *err);
bool index_db_exec(sqlite3 *db, const char *sql, struct err *err);
sqlite3_stmt *index_db_prepare(sqlite3 *db, const char *sql, struct err *err);
void index_db_err(sqlite3 *db, struct err *err, const char *doing);
