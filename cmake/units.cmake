# Makes systemd's unit files while they are installed: only then it is known where the daemon lies.

if(IS_ABSOLUTE "${bindir}")
    set(bindir "${bindir}")
else()
    set(bindir "${CMAKE_INSTALL_PREFIX}/${bindir}")
endif()
foreach(unit system/tramd@.service user/tramd.service)
    configure_file("${units}/${unit}.in" "${output}/systemd/${unit}" @ONLY)
endforeach()
