from pipeline.arithmetic import set_arithmetic

set_arithmetic()  # here, for it must come before any module imports numpy or torch
