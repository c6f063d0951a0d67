/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "tram/tram.h"

int tram_id_parse(const char *text, tram_id *ret_id) {
    tram_id id = 0;

    if (!text || !ret_id)
        return -EINVAL;
    for (int part = 0; part < 4; part++) {
        unsigned value = 0;
        int digits = 0;

        if (part > 0 && *text++ != '.')
            return -EINVAL;
        for (; *text >= '0' && *text <= '9' && digits < 3; digits++)
            value = value * 10 + (unsigned) (*text++ - '0');
        if (digits == 0 || value > 255)
            return -EINVAL;
        id = id << 8 | value;
    }
    if (*text != '\0' || id == 0 || id == UINT32_MAX)
        return -EINVAL;
    *ret_id = id;
    return 0;
}

char *tram_id_format(tram_id id, char buffer[TRAM_ID_TEXT]) {
    (void) snprintf(buffer, TRAM_ID_TEXT, "%u.%u.%u.%u", id >> 24, id >> 16 & 0xffu,
                    id >> 8 & 0xffu, id & 0xffu);
    return buffer;
}
