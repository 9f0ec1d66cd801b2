//! Functions of C's math library that zig's compiler-rt lacks on bare metal and that musl's C
//! sources in the zig package no longer have: a kernel may call them, and the harness needs a
//! definition. Here they are those of zig's standard library.

const std = @import("std");
const math = std.math;

pub const panic = std.debug.no_panic;

export fn acos(x: f64) f64 { return math.acos(x); }
export fn acosf(x: f32) f32 { return math.acos(x); }
export fn acosh(x: f64) f64 { return math.acosh(x); }
export fn acoshf(x: f32) f32 { return math.acosh(x); }
export fn asin(x: f64) f64 { return math.asin(x); }
export fn asinf(x: f32) f32 { return math.asin(x); }
export fn asinh(x: f64) f64 { return math.asinh(x); }
export fn asinhf(x: f32) f32 { return math.asinh(x); }
export fn atan(x: f64) f64 { return math.atan(x); }
export fn atanf(x: f32) f32 { return math.atan(x); }
export fn atan2(y: f64, x: f64) f64 { return math.atan2(y, x); }
export fn atan2f(y: f32, x: f32) f32 { return math.atan2(y, x); }
export fn atanh(x: f64) f64 { return math.atanh(x); }
export fn atanhf(x: f32) f32 { return math.atanh(x); }
export fn cbrt(x: f64) f64 { return math.cbrt(x); }
export fn cbrtf(x: f32) f32 { return math.cbrt(x); }
export fn copysign(x: f64, y: f64) f64 { return math.copysign(x, y); }
export fn copysignf(x: f32, y: f32) f32 { return math.copysign(x, y); }
export fn cosh(x: f64) f64 { return math.cosh(x); }
export fn coshf(x: f32) f32 { return math.cosh(x); }
export fn exp10(x: f64) f64 { return pow(10.0, x); }
export fn exp10f(x: f32) f32 { return powf(10.0, x); }
export fn expm1(x: f64) f64 { return math.expm1(x); }
export fn expm1f(x: f32) f32 { return math.expm1(x); }
export fn ldexp(x: f64, n: c_int) f64 { return math.ldexp(x, n); }
export fn ldexpf(x: f32, n: c_int) f32 { return math.ldexp(x, n); }
export fn log1p(x: f64) f64 { return math.log1p(x); }
export fn log1pf(x: f32) f32 { return math.log1p(x); }
export fn sinh(x: f64) f64 { return math.sinh(x); }
export fn sinhf(x: f32) f32 { return math.sinh(x); }
export fn tanh(x: f64) f64 { return math.tanh(x); }
export fn tanhf(x: f32) f32 { return math.tanh(x); }
export fn tgamma(x: f64) f64 { return math.gamma(f64, x); }
export fn tgammaf(x: f32) f32 { return math.gamma(f32, x); }
export fn lgamma(x: f64) f64 { return math.lgamma(f64, x); }
export fn lgammaf(x: f32) f32 { return math.lgamma(f32, x); }

extern fn pow(x: f64, y: f64) f64;
extern fn powf(x: f32, y: f32) f32;

/// Nearest integer, halves to even: adding and taking away 2^mantissa leaves the rounding to the
/// adder, whose mode nobody changes on a microcontroller.
fn nearestEven(comptime T: type, x: T) T {
    const big: T = 1.0 / math.floatEps(T);
    if (!(@abs(x) < big)) return x;
    const sum: T = @abs(x) + big;
    return math.copysign(sum - big, x);
}

export fn rint(x: f64) f64 { return nearestEven(f64, x); }
export fn rintf(x: f32) f32 { return nearestEven(f32, x); }
export fn nearbyint(x: f64) f64 { return nearestEven(f64, x); }
export fn nearbyintf(x: f32) f32 { return nearestEven(f32, x); }
export fn roundeven(x: f64) f64 { return nearestEven(f64, x); }
export fn roundevenf(x: f32) f32 { return nearestEven(f32, x); }
