from foundation.arithmetic import set_arithmetic

set_arithmetic()  # must run before any module imports numpy or torch
