//! Gradients of the fast forms against finite differences, in 64 bits, of the plain ones.

use super::*;
use crate::kernels::{Activation, Padding, Shape};
use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;

/// Numbers between -1 and 1 that a hash of their place gives, rounded so that 32 bits hold them.
fn made(shape: &[usize], salt: u64) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| {
        let mut x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (salt + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (x >> 44) as f64 / f64::from(1u32 << 19) - 1.0
    };
    Tensor::from_vec((0..n).map(value).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

fn wide(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Compares values and gradients of `f` in 32 bits with values and central differences in 64.
fn check(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
    let narrow: Vec<Var> =
        inputs.iter().map(|t| Var::from_tensor(&t.to_dtype(DType::F32).unwrap()).unwrap()).collect();
    let tensors: Vec<Tensor> = narrow.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&tensors);
    let expected = f(inputs);
    assert_eq!(y.dims(), expected.dims());
    let largest = wide(&expected).iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
    let error = wide(&y).iter().zip(wide(&expected)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error <= 1e-4 * largest, "value: {error} of {largest}");
    let weights = made(y.dims(), 99);
    let loss = |y: &Tensor| (y * weights.to_dtype(y.dtype()).unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss(&y).backward().unwrap();
    for (n, input) in inputs.iter().enumerate() {
        let gradient = wide(gradients.get(&tensors[n]).unwrap());
        let scale = gradient.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
        let values = wide(input);
        let at = |i: usize, step: f64| {
            let mut moved = values.clone();
            moved[i] += step;
            let mut inputs = inputs.to_vec();
            inputs[n] = Tensor::from_vec(moved, input.shape(), &Device::Cpu).unwrap();
            wide(&loss(&f(&inputs)))[0]
        };
        for i in (0..values.len()).step_by((values.len() / 12).max(1)) {
            let slope = (at(i, 1e-5) - at(i, -1e-5)) / 2e-5;
            let error = (slope - gradient[i]).abs();
            assert!(
                error <= 2e-4 * scale,
                "input {n}, element {i}: difference {slope}, gradient {}",
                gradient[i]
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn convolutions_have_right_gradients(
        (b, h, w, c, out) in (1..4usize, 1..10usize, 1..10usize, 1..36usize, 1..36usize),
        (kh, kw, stride, padding) in (1..6usize, 1..6usize, 1..4usize, 0..4usize),
        depthwise in any::<bool>(),
    ) {
        let padding = if padding == 3 { Padding::Same } else { Padding::Zeros(padding) };
        let room = |size: usize, k: usize| { let (a, b) = padding.around(size, k, stride); size + a + b >= k };
        prop_assume!(room(h, kh) && room(w, kw));
        let out = if depthwise { c } else { out };
        let weight = made(&[out, if depthwise { 1 } else { c }, kh, kw], 2);
        let shape = Shape { stride, padding, depthwise };
        check(&[made(&[b, h, w, c], 1), weight], |t| conv(&t[0], &t[1], shape).unwrap());
    }
}

#[test]
fn the_convolutions_of_the_nets_have_right_gradients() {
    for (size, c, out, kernel, stride, padding, depthwise) in [
        (16, 64, 64, 3, 1, Padding::Zeros(1), false),
        (9, 64, 96, 3, 2, Padding::Zeros(1), false),
        (9, 64, 96, 1, 2, Padding::Zeros(0), false),
        (14, 3, 64, 7, 2, Padding::Zeros(3), false),
        (6, 40, 70, 1, 1, Padding::Zeros(0), false),
        (12, 3, 32, 3, 2, Padding::Same, false),
        (12, 40, 40, 3, 1, Padding::Same, true),
        (11, 40, 40, 3, 2, Padding::Same, true),
        (12, 40, 40, 3, 2, Padding::Same, true),
        (12, 24, 24, 5, 1, Padding::Same, true),
        (1, 16, 16, 3, 1, Padding::Zeros(1), false),
    ] {
        let weight = made(&[out, if depthwise { 1 } else { c }, kernel, kernel], 2);
        let shape = Shape { stride, padding, depthwise };
        check(&[made(&[3, size, size, c], 1), weight], |t| conv(&t[0], &t[1], shape).unwrap());
    }
}

#[test]
fn batch_norm_has_right_gradients() {
    for (dims, activation) in [
        ([2, 3, 4, 5], Activation::None),
        ([3, 12, 11, 20], Activation::Relu),
        ([2, 2, 2, 33], Activation::Relu6),
        ([1, 2, 3, 3], Activation::None),
    ] {
        let c = dims[3];
        let x = ((made(&dims, 1) * 3.0).unwrap() + 20.0).unwrap();
        let inputs = [x, (made(&[c], 2) * 4.0).unwrap(), made(&[c], 3), (made(&dims, 4) * 2.0).unwrap()];
        check(&inputs[..3], |t| batch_norm(&t[0], &t[1], &t[2], None, &activation).unwrap().0);
        check(&inputs, |t| batch_norm(&t[0], &t[1], &t[2], Some(&t[3]), &activation).unwrap().0);
        let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let [(_, a), (_, b)] = [
            batch_norm(&inputs[0], &inputs[1], &inputs[2], None, &activation).unwrap(),
            batch_norm(&narrow(&inputs[0]), &narrow(&inputs[1]), &narrow(&inputs[2]), None, &activation)
                .unwrap(),
        ];
        for (a, b) in [(a.mean, b.mean), (a.variance, b.variance)] {
            assert!(wide(&a).iter().zip(wide(&b)).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + a.abs())));
        }
    }
}

#[test]
fn a_prelu_behind_a_batch_norm_has_right_gradients_of_its_slopes_too() {
    for dims in [[2, 3, 4, 5], [3, 12, 11, 20], [2, 2, 2, 33]] {
        let c = dims[3];
        let x = ((made(&dims, 1) * 3.0).unwrap() + 20.0).unwrap();
        // Slopes below zero as well: the sign of the output does not tell that of what was put in.
        let inputs = [x, (made(&[c], 2) * 4.0).unwrap(), made(&[c], 3), made(&[c], 5), made(&dims, 4)];
        let norm = |t: &[Tensor], residual: Option<&Tensor>| {
            batch_norm(&t[0], &t[1], &t[2], residual, &Activation::Prelu(t[3].clone())).unwrap().0
        };
        check(&inputs[..4], |t| norm(t, None));
        check(&inputs, |t| norm(t, Some(&t[4])));
    }
}

#[test]
fn pools_and_enlarging_have_right_gradients() {
    for dims in [[2, 8, 7, 5], [1, 1, 1, 3], [1, 9, 10, 17]] {
        let x = [made(&dims, 1)];
        check(&x, |t| max_pool(&t[0], 3, 2, 1).unwrap());
        check(&x, |t| mean(&t[0]).unwrap());
        check(&x, |t| enlarge(&t[0]).unwrap());
        check(&x, |t| enlarge_smoothly(&t[0]).unwrap());
    }
}

#[test]
fn the_first_largest_takes_the_gradient() {
    let x = Var::zeros((1, 4, 4, 1), DType::F32, &Device::Cpu).unwrap();
    let y = max_pool(x.as_tensor(), 3, 2, 1).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    let dx = wide(gradients.get(x.as_tensor()).unwrap());
    // Windows start at (0, 0), (0, 1), (1, 0) and (1, 1) once the margin is left out.
    let expected = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(dx, expected);
}

#[test]
fn what_is_not_a_number_wins_a_window_and_takes_its_gradient() {
    for place in 0..9 {
        let mut numbers = vec![1f32; 9];
        numbers[place] = f32::NAN;
        let x = Var::from_vec(numbers, (1, 3, 3, 1), &Device::Cpu).unwrap();
        let y = max_pool(x.as_tensor(), 3, 1, 0).unwrap();
        assert!(
            wide(&y)[0].is_nan()
                && wide(&max_pool(&x.to_dtype(DType::F64).unwrap(), 3, 1, 0).unwrap())[0].is_nan()
        );
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let dx = wide(gradients.get(x.as_tensor()).unwrap());
        assert!((0..9).all(|n| dx[n] == if n == place { 1.0 } else { 0.0 }), "{dx:?}");
    }
}

#[test]
fn bilinear_enlarging_is_pytorchs() {
    // torch.nn.functional.interpolate(torch.tensor([[[[0., 4.]]]]), scale_factor=2, mode="bilinear")
    let x = Tensor::from_vec(vec![0f32, 4.0], (1, 1, 2, 1), &Device::Cpu).unwrap();
    assert_eq!(wide(&enlarge_smoothly(&x).unwrap()), [0.0, 1.0, 3.0, 4.0, 0.0, 1.0, 3.0, 4.0]);
}

#[test]
fn shapes_that_do_not_fit_are_named_and_empty_batches_work() {
    let shape = Shape { stride: 1, padding: Padding::Zeros(0), depthwise: false };
    let weight = made(&[4, 3, 3, 3], 1).to_dtype(DType::F32).unwrap();
    for dims in [[1, 8, 8, 2], [1, 2, 8, 3], [1, 0, 8, 3]] {
        let error = conv(&made(&dims, 1).to_dtype(DType::F32).unwrap(), &weight, shape).unwrap_err().line();
        assert!(error.contains(&format!("{dims:?}")), "{error}");
    }
    let x = Var::zeros((0, 8, 8, 3), DType::F32, &Device::Cpu).unwrap();
    let y = conv(x.as_tensor(), &weight, shape).unwrap();
    assert_eq!(y.dims(), [0, 6, 6, 4]);
    y.sum_all().unwrap().backward().unwrap();
    let none = Var::zeros((1, 8, 8, 0), DType::F32, &Device::Cpu).unwrap();
    let y = conv(none.as_tensor(), &made(&[20, 0, 3, 3], 1).to_dtype(DType::F32).unwrap(), shape).unwrap();
    assert_eq!((y.dims(), wide(&y.sum_all().unwrap())[0]), (&[1, 6, 6, 20][..], 0.0));
    y.sum_all().unwrap().backward().unwrap();
    assert_eq!(enlarge(none.as_tensor()).unwrap().dims(), [1, 16, 16, 0]);
    assert!(max_pool(&weight, 5, 1, 0).is_err());
    let no_channels = Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap();
    assert!(batch_norm(none.as_tensor(), &no_channels, &no_channels, None, &Activation::None).is_err());
    assert!(batch_norm(&weight, &made(&[2], 1), &made(&[3], 1), None, &Activation::None).is_err());
}

#[test]
fn weights_change_in_place_as_in_the_plain_form() {
    // More than one job, and a last one that fills no register.
    let shape = [3, 11_003];
    let numbers = |salt, dtype| made(&shape, salt).to_dtype(dtype).unwrap();
    let run = |dtype| {
        let (w, m, v) = (numbers(1, dtype), numbers(2, dtype), numbers(3, dtype).sqr().unwrap());
        let g = numbers(4, dtype).t().unwrap().contiguous().unwrap().t().unwrap();
        blend(&m, &g, 0.9, 0.1, false).unwrap();
        blend(&v, &g, 0.999, 0.001, true).unwrap();
        descend(&w, &m, &v, 0.01, 1.5, 0.99).unwrap();
        [w, m, v].map(|t| wide(&t))
    };
    let before = wide(&made(&shape, 2));
    let (fast, plain) = (run(DType::F32), run(DType::F64));
    for (fast, plain) in fast.iter().zip(&plain) {
        // A step is longest where v is next to nothing; there rounding counts most.
        let error = fast.iter().zip(plain).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
        assert!(error < 1e-5, "{error}");
    }
    assert!(plain[1].iter().zip(before).any(|(after, before)| (after - before).abs() > 0.1));
    let long = made(&shape, 1).to_dtype(DType::F32).unwrap();
    let short = long.narrow(1, 0, 7).unwrap().contiguous().unwrap();
    assert!(blend(&long, &short, 1.0, 1.0, false).is_err());
    assert!(descend(&long, &long.copy().unwrap(), &short, 1.0, 1.0, 1.0).is_err());
    assert!(blend(&long.narrow(1, 0, 7).unwrap(), &short, 1.0, 1.0, false).is_err());
}
