# Makes C of a descriptor set: SET is the file, OUT what is written without .c and .h, SYMBOL how
# it is called.

file(READ ${SET} bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
get_filename_component(header ${OUT}.h NAME)
file(WRITE ${OUT}.h "/* A google.protobuf.FileDescriptorSet. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern \"C\" {
#endif
extern const unsigned char ${SYMBOL}_descriptors[];
extern const size_t ${SYMBOL}_descriptors_size;
#ifdef __cplusplus
}
#endif
")
file(WRITE ${OUT}.c "#include \"${header}\"

const unsigned char ${SYMBOL}_descriptors[] = {
${bytes}
};
const size_t ${SYMBOL}_descriptors_size = sizeof(${SYMBOL}_descriptors);
")
