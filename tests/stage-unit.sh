# SPDX-License-Identifier: ISC
# Unit tests beside the code.
sh tests/meson-stage.sh unit build
