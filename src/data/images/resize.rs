//! Pictures of another size. Each side is resampled by itself, first the width, with a triangle that is as wide as the pixels
//! that become one, and rounded to bytes: what PIL calls `BILINEAR`.

use super::Picture;

/// How a picture is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Height and width each by themselves.
    Stretch,
    /// As small as covers the size, and the middle of that.
    Crop,
}

/// A picture of that size.
pub fn fitted(picture: Picture, height: usize, width: usize, fit: Fit) -> Picture {
    match fit {
        Fit::Stretch => resized(picture, height, width),
        Fit::Crop => {
            let (tall, wide) = (picture.height as u64, picture.width as u64);
            let (high, broad) = (height as u64, width as u64);
            // The side that needs the greater factor fits exactly, the other is longer or the same.
            let (h, w) = match high * wide >= broad * tall {
                true => (high, (high * wide / tall).max(broad)),
                false => ((broad * tall / wide).max(high), broad),
            };
            middle(resized(picture, h as usize, w as usize), height, width)
        }
    }
}

/// The middle of a picture.
fn middle(picture: Picture, height: usize, width: usize) -> Picture {
    // Halves are rounded to even, as in torchvision's `CenterCrop`.
    let before = |whole: usize, part: usize| {
        let spare = whole - part;
        spare / 2 + usize::from(spare % 4 == 3)
    };
    let (top, left) = (before(picture.height, height), before(picture.width, width));
    let rows = picture.rgb.chunks_exact(3 * picture.width).skip(top).take(height);
    let rgb = rows.flat_map(|row| &row[3 * left..3 * (left + width)]).copied().collect();
    Picture { height, width, rgb }
}

fn resized(picture: Picture, height: usize, width: usize) -> Picture {
    let picture = if picture.width == width { picture } else { across(&picture, width) };
    if picture.height == height { picture } else { down(&picture, height) }
}

/// The weights of one pixel: the first pixel that it is made of, and how much of each from there on.
struct Weights {
    first: usize,
    of: Vec<f32>,
}

fn weights(from: usize, to: usize) -> Vec<Weights> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let one = |pixel: usize| {
        let center = (pixel as f64 + 0.5) * scale;
        let first = ((center - reach + 0.5) as usize).min(from - 1);
        let end = ((center + reach + 0.5) as usize).clamp(first + 1, from);
        let of: Vec<f64> = (first..end).map(|at| (1.0 - ((at as f64 - center + 0.5) / reach).abs()).max(0.0)).collect();
        let sum: f64 = of.iter().sum();
        Weights { first, of: of.into_iter().map(|w| (w / sum) as f32).collect() }
    };
    (0..to).map(one).collect()
}

fn byte(sum: f32) -> u8 {
    (sum + 0.5) as u8
}

fn across(picture: &Picture, width: usize) -> Picture {
    let weights = weights(picture.width, width);
    let mut rgb = Vec::with_capacity(3 * picture.height * width);
    for row in picture.rgb.chunks_exact(3 * picture.width) {
        for Weights { first, of } in &weights {
            let pixels = || row[3 * first..].chunks_exact(3).zip(of);
            rgb.extend((0..3).map(|c| byte(pixels().map(|(pixel, w)| f32::from(pixel[c]) * w).sum())));
        }
    }
    Picture { height: picture.height, width, rgb }
}

fn down(picture: &Picture, height: usize) -> Picture {
    let line = 3 * picture.width;
    let mut rgb = Vec::with_capacity(line * height);
    for Weights { first, of } in weights(picture.height, height) {
        let rows = || picture.rgb[line * first..].chunks_exact(line).zip(&of);
        rgb.extend((0..line).map(|at| byte(rows().map(|(row, w)| f32::from(row[at]) * w).sum())));
    }
    Picture { height, width: picture.width, rgb }
}
