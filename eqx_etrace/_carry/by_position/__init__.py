from ._jacobian import compose, Drive, Jacobians, Matrix, Rows, Window
from ._layout import make_filtered_layouts, make_trace_layouts, TraceLayout
from ._linearise import linearise, taps_of
