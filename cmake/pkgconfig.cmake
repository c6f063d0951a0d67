# Makes tram.pc and tram-service.pc while they are installed. A folder below the prefix is named by
# it, so that who moves the tree has one line to change (pkg-config --define-variable=prefix=…).

foreach(dir libdir includedir)
    if(NOT IS_ABSOLUTE "${${dir}}")
        set(${dir} "\${prefix}/${${dir}}")
    endif()
endforeach()
set(prefix "${CMAKE_INSTALL_PREFIX}")
foreach(name tram tram-service)
    configure_file("${templates}/${name}.pc.in" "${output}/${name}.pc" @ONLY)
endforeach()
