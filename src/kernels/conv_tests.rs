//! Every form of the convolution against Candle's own in 64 bits.

use super::super::shape::Padding;
use super::super::winograd::{Around, Winograd};
use super::*;
use candle_core::Device;
use proptest::prelude::*;

/// Numbers between -1 and 1 that a hash of their place gives.
fn made(shape: &[usize], salt: usize) -> Tensor {
    let n = shape.iter().product::<usize>();
    let value = |i: usize| {
        let mut x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (salt as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    Tensor::from_vec((0..n).map(value).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

/// max |a - b| / max |b|
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let numbers =
        |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (a, b) = (numbers(a), numbers(b));
    let largest = b.iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

/// The same numbers, otherwise laid out.
fn laid_out(x: &Tensor, how: usize) -> Tensor {
    match how {
        0 => x.clone(),
        1 => x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap().permute((0, 3, 1, 2)).unwrap(),
        2 => x.transpose(2, 3).unwrap().contiguous().unwrap().transpose(2, 3).unwrap(),
        _ => Tensor::cat(&[x, x, x], 3).unwrap().narrow(3, x.dim(3).unwrap(), x.dim(3).unwrap()).unwrap(),
    }
}

#[derive(Debug, Clone)]
struct Case {
    input: [usize; 4],
    out: usize,
    kernel: [usize; 2],
    shape: Shape,
    activation: usize,
    residual: bool,
    layout: usize,
    bias: bool,
}

fn check(case: &Case, isa: Isa) {
    let Case { input, out, kernel: [kh, kw], shape, .. } = *case;
    let x = made(&input, 1);
    let weight = made(&[out, if shape.depthwise { 1 } else { input[1] }, kh, kw], 2);
    let bias = case.bias.then(|| made(&[out], 3));
    let activation = match case.activation {
        0 => Activation::None,
        1 => Activation::Relu,
        2 => Activation::Relu6,
        _ => Activation::Prelu(made(&[out], 4)),
    };
    let conv = Conv::with_isa(weight.clone(), bias.clone(), shape, activation.clone(), isa).unwrap();
    let dims = conv.output(&input).unwrap();
    let residual = case.residual.then(|| made(&dims, 5));
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let wide_activation = match activation {
        Activation::Prelu(slope) => Activation::Prelu(wide(&slope)),
        other => other,
    };
    let oracle = Conv::new(wide(&weight), bias.as_ref().map(wide), shape, wide_activation).unwrap();
    assert!(oracle.fast.is_none());
    let expected = oracle.plain(&wide(&x), residual.as_ref().map(wide).as_ref(), dims).unwrap();
    let x = laid_out(&x, case.layout);
    let got = match &residual {
        None => conv.forward(&x).unwrap(),
        Some(residual) => conv.forward_add(&x, &laid_out(residual, case.layout)).unwrap(),
    };
    let error = distance(&got, &expected);
    // Winograd's form rounds more.
    let bound = if case.kernel == [3, 3] && shape.stride == 1 && !shape.depthwise { 1e-4 } else { 2e-5 };
    assert!(error <= bound, "{error} {isa:?} {case:?}");
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (1..4usize, 0..5usize, any::<bool>()).prop_map(|(stride, padding, depthwise)| Shape {
        stride,
        padding: if padding == 4 { Padding::Same } else { Padding::Zeros(padding) },
        depthwise,
    });
    let sizes = (0..4usize, 1..70usize, 1..20usize, 1..20usize, 1..70usize, 1..8usize, 1..8usize);
    (sizes, shape, 0..4usize, any::<bool>(), 0..4usize, any::<bool>())
        .prop_map(|((b, c, h, w, o, kh, kw), shape, activation, residual, layout, bias)| Case {
            input: [b, c, h, w],
            out: if shape.depthwise { c } else { o },
            kernel: [kh, kw],
            shape,
            activation,
            residual,
            layout,
            bias,
        })
        .prop_filter("a window larger than the picture", |case| {
            let pad = if let Padding::Zeros(n) = case.shape.padding { 2 * n } else { 100 };
            case.input[2] + pad >= case.kernel[0] && case.input[3] + pad >= case.kernel[1]
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn winograd_is_right_for_every_shape(
        b in 0..3usize, c in 1..40usize, h in 1..12usize, w in 1..12usize, out in 1..70usize, padding in 1..4usize,
    ) {
        let (x, weight, bias) = (made(&[b, c, h, w], 1), made(&[out, c, 3, 3], 2), made(&[out], 3));
        let padding = if padding == 3 { Padding::Same } else { Padding::Zeros(padding) };
        let shape = Shape { stride: 1, padding, depthwise: false };
        let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let oracle = Conv::new(wide(&weight), Some(wide(&bias)), shape, Activation::Relu).unwrap();
        let expected = oracle.forward(&wide(&x)).unwrap();
        for isa in Isa::all() {
            let winograd = Winograd::new(isa, &weight.flatten_all().unwrap().to_vec1::<f32>().unwrap(), out, c);
            let bias = numbers(&bias).unwrap();
            let start = [padding.around(h, 3, 1).0, padding.around(w, 3, 1).0];
            let around = Around { start, bias: &bias, last: &Last::Clamp(f32::INFINITY), residual: None };
            let dims = expected.dims4().unwrap();
            let y = view::with_view(&x, |x| Ok(winograd.forward(x, dims.into(), &around))).unwrap();
            let error = distance(&view::tensor(y, dims.into()).unwrap(), &expected);
            prop_assert!(error <= 1e-4, "{error} {isa:?}");
        }
    }

    #[test]
    fn every_shape_is_right_with_every_instruction_set(case in cases()) {
        for isa in Isa::all() {
            check(&case, isa);
        }
    }
}

#[test]
fn the_shapes_of_the_nets_are_right() {
    let zeros = |n| Padding::Zeros(n);
    for (input, out, kernel, stride, padding, depthwise) in [
        ([1, 3, 37, 41], 32, 3, 2, Padding::Same, false),
        ([2, 3, 40, 40], 64, 7, 2, zeros(3), false),
        ([1, 3, 48, 48], 32, 5, 2, Padding::Same, false),
        ([1, 64, 14, 14], 128, 3, 2, zeros(1), false),
        ([1, 64, 14, 14], 64, 3, 1, zeros(1), false),
        ([3, 64, 7, 7], 130, 1, 1, zeros(0), false),
        ([1, 64, 7, 7], 128, 1, 2, zeros(0), false),
        ([1, 32, 8, 8], 64, 2, 2, Padding::Same, false),
        ([2, 64, 28, 28], 64, 3, 1, Padding::Same, true),
        ([1, 42, 29, 27], 42, 3, 2, Padding::Same, true),
        ([1, 24, 29, 27], 24, 5, 1, Padding::Same, true),
        ([1, 64, 15, 14], 64, 5, 2, zeros(2), true),
        ([0, 8, 4, 4], 8, 3, 1, zeros(1), false),
        ([0, 8, 4, 4], 8, 3, 1, zeros(1), true),
        ([1, 8, 1, 1], 8, 3, 1, zeros(1), false),
        ([1, 8, 1, 1], 8, 3, 2, Padding::Same, true),
    ] {
        let shape = Shape { stride, padding, depthwise };
        for isa in Isa::all() {
            for residual in [false, true] {
                check(
                    &Case {
                        input,
                        out,
                        kernel: [kernel; 2],
                        shape,
                        activation: 3,
                        residual,
                        layout: 0,
                        bias: true,
                    },
                    isa,
                );
            }
        }
    }
}

#[test]
fn shifted_multiply_adds_are_a_grouped_convolution() {
    for (stride, kernel, h, w) in [(1, 3, 6, 7), (2, 3, 7, 7), (2, 5, 9, 8), (3, 2, 7, 9)] {
        let x = made(&[2, 5, h, w], 1);
        let weight = made(&[5, 1, kernel, kernel], 2);
        let expected = x.conv2d(&weight, 0, stride, 1, 5).unwrap();
        let got = shifted(&x, &weight, stride, [expected.dim(2).unwrap(), expected.dim(3).unwrap()]).unwrap();
        assert!(distance(&got, &expected) < 1e-6);
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let shape = Shape { stride: 1, padding: Padding::Zeros(0), depthwise: false };
    let conv = Conv::new(made(&[4, 3, 3, 3], 1), None, shape, Activation::None).unwrap();
    for dims in [&[1, 2, 8, 8][..], &[1, 3, 2, 8], &[3, 8, 8], &[1, 3, 0, 8]] {
        let error = conv.forward(&made(dims, 1)).unwrap_err().line();
        assert!(error.contains(&format!("{dims:?}")) && error.contains("[4, 3, 3, 3]"), "{error}");
    }
    let error = conv.forward_add(&made(&[1, 3, 8, 8], 1), &made(&[1, 4, 8, 8], 1)).unwrap_err().line();
    assert!(error.contains("[1, 4, 8, 8]") && error.contains("[1, 4, 6, 6]"), "{error}");
    assert!(Conv::new(made(&[4, 3, 3, 3], 1), Some(made(&[5], 1)), shape, Activation::None).is_err());
}

#[test]
fn what_is_not_a_number_stays_so() {
    for isa in Isa::all() {
        let shape = Shape { stride: 1, padding: Padding::Zeros(0), depthwise: false };
        let weight = Tensor::ones((20, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
        for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
            let conv = Conv::with_isa(weight.clone(), None, shape, activation, isa).unwrap();
            let x = Tensor::full(f32::NAN, (1, 1, 1, 1), &Device::Cpu).unwrap();
            let y = conv.forward(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(y.iter().all(|y| y.is_nan()), "{isa:?}");
        }
    }
}

#[test]
fn without_channels_the_bias_is_what_remains() {
    for (out, inner, depthwise) in [(20, 0, false), (0, 20, false), (0, 1, true)] {
        for kernel in [1, 3] {
            let shape = Shape { stride: 1, padding: Padding::Same, depthwise };
            let conv = Conv::new(
                made(&[out, inner, kernel, kernel], 1),
                Some(made(&[out], 2)),
                shape,
                Activation::None,
            );
            let x = made(&[2, if depthwise { out } else { inner }, 12, 12], 3);
            let y = conv.unwrap().forward(&x).unwrap();
            let bias = made(&[out], 2).reshape((1, out, 1, 1)).unwrap();
            let expected = bias.broadcast_as((2, out, 12, 12)).unwrap().flatten_all().unwrap();
            assert_eq!(
                y.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                expected.to_vec1::<f32>().unwrap()
            );
        }
    }
}
