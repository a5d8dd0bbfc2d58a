// Whether dropout keeps an element: if its draw is at least RATE. For kernels with a binding `clock`.
//
// SEVERAL_STREAMS: every OF_STREAM elements are counted from 0 and draw from their own stream, the first from STREAM.
#include random

fn kept(e: u32) -> bool {
#if SEVERAL_STREAMS
    return random_of_streams(clock[0], clock[1], STREAM, OF_STREAM, e) >= RATE;
#else
    return random_unit(random_draw(random_key(clock[0], clock[1], STREAM), e)) >= RATE;
#endif
}
