// Whether dropout keeps an element, for kernels with the bindings' `clock`: where its draw is at least RATE.
//
// SEVERAL_STREAMS: each OF_STREAM elements are counted from 0 and draw from a stream of their own, from STREAM on.
#include random

fn kept(e: u32) -> bool {
#if SEVERAL_STREAMS
    return random_of_streams(clock[0], clock[1], STREAM, OF_STREAM, e) >= RATE;
#else
    return random_unit(random_draw(random_key(clock[0], clock[1], STREAM), e)) >= RATE;
#endif
}
