// SPDX-License-Identifier: ISC
// CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction where it has one.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Start with crc = 0; feed pieces in order.
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
