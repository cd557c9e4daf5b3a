# SPDX-License-Identifier: ISC
"""What the end-to-end tests are made of: the daemon, other mail servers, rude peers, disks, names."""
