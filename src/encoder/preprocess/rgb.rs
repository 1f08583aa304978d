//! `rgb224-catmullrom-127-128-v1`: a PNG or JPEG to 224 x 224 RGB.

use std::io::Cursor;

use image::imageops::{FilterType, resize};
use image::{ImageFormat, ImageReader, Limits, RgbImage};

use super::PayloadError;

/// Longest image file that is decoded, in bytes.
pub const IMAGE_BYTES_MAX: usize = 32 << 20;

/// Most pixels that are decoded.
pub const IMAGE_PIXELS_MAX: u64 = 4_096 * 4_096;

/// Memory that a decoder may take, in bytes: sixteen for each pixel.
const DECODER_BYTES_MAX: u64 = 16 * IMAGE_PIXELS_MAX;

/// The whole image, resized without regard to its aspect ratio; transparency is dropped and grey becomes RGB.
#[derive(Debug, Clone, Copy)]
pub struct ResizedRgb;

impl ResizedRgb {
    /// Pixels of a side of what the network sees.
    pub const SIDE: usize = 224;

    /// Decodes, resizes and scales an image.
    ///
    /// # Shape
    /// 3 x 224 x 224: channels first.
    pub fn features(bytes: &[u8]) -> Result<Vec<f32>, PayloadError> {
        let image = decode(bytes)?;
        let side = Self::SIDE as u32;
        let image = if image.dimensions() == (side, side) {
            image
        } else {
            resize(&image, side, side, FilterType::CatmullRom)
        };
        Ok(Self::scaled(image.as_raw()))
    }

    /// Scales pixels (rows of RGB triples) to `(byte - 127) / 128`, channels first.
    pub fn scaled(pixels: &[u8]) -> Vec<f32> {
        let channel = |place: usize| {
            pixels.iter().skip(place).step_by(3).map(|byte| (f32::from(*byte) - 127.0) / 128.0)
        };
        channel(0).chain(channel(1)).chain(channel(2)).collect()
    }
}

fn decode(bytes: &[u8]) -> Result<RgbImage, PayloadError> {
    if bytes.len() > IMAGE_BYTES_MAX {
        return Err(too_large(bytes.len() as u64, "bytes", IMAGE_BYTES_MAX as u64));
    }
    let (format, name) = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => (ImageFormat::Png, "PNG"),
        Ok(ImageFormat::Jpeg) => (ImageFormat::Jpeg, "JPEG"),
        _ => return Err(PayloadError::NotAnImage),
    };
    let damaged = |error: image::ImageError| PayloadError::DamagedImage {
        format: name,
        reason: error.to_string().replace('\n', " "),
    };
    let (width, height) =
        ImageReader::with_format(Cursor::new(bytes), format).into_dimensions().map_err(damaged)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > IMAGE_PIXELS_MAX {
        return Err(too_large(pixels, "pixels", IMAGE_PIXELS_MAX));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    reader.limits(limits);
    Ok(reader.decode().map_err(damaged)?.into_rgb8())
}

fn too_large(given: u64, unit: &'static str, limit: u64) -> PayloadError {
    PayloadError::TooLarge { given, unit, limit }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageBuffer, Rgb, Rgba, RgbaImage};

    use super::*;

    const AREA: usize = ResizedRgb::SIDE * ResizedRgb::SIDE;

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).expect("encodes");
        bytes.into_inner()
    }

    #[test]
    fn pixels_of_the_right_size_are_only_scaled() {
        let side = ResizedRgb::SIDE as u32;
        let image = RgbImage::from_fn(side, side, |x, y| Rgb([x as u8, y as u8, 127]));
        let features = ResizedRgb::features(&encoded(image, ImageFormat::Png)).expect("features");
        assert_eq!(features.len(), 3 * AREA);
        for (place, (x, y)) in [(0, (0, 0)), (223, (223, 0)), (224 * 100 + 7, (7, 100))] {
            assert_eq!(features[place], (f32::from(x as u8) - 127.0) / 128.0);
            assert_eq!(features[AREA + place], (f32::from(y as u8) - 127.0) / 128.0);
            assert_eq!(features[2 * AREA + place], 0.0);
        }
    }

    #[test]
    fn every_kind_of_picture_becomes_rgb_of_one_size() {
        let flat = (200.0 - 127.0) / 128.0;
        let grey = encoded(GrayImage::from_pixel(37, 411, image::Luma([200])), ImageFormat::Png);
        let deep: ImageBuffer<image::Luma<u16>, Vec<u16>> =
            ImageBuffer::from_pixel(300, 300, image::Luma([200 * 257]));
        let clear =
            encoded(RgbaImage::from_pixel(1, 1, Rgba([200, 200, 200, 0])), ImageFormat::Png);
        let photograph = encoded(RgbImage::from_pixel(424, 424, Rgb([200; 3])), ImageFormat::Jpeg);
        for bytes in [grey, encoded(deep, ImageFormat::Png), clear, photograph] {
            let features = ResizedRgb::features(&bytes).expect("features");
            assert_eq!(features.len(), 3 * AREA);
            for value in features {
                assert!((value - flat).abs() <= 1.0 / 128.0, "{value}");
            }
        }
    }

    #[test]
    fn shrinking_averages_and_keeps_left_and_right() {
        let image =
            RgbImage::from_fn(448, 448, |x, _| if x < 224 { Rgb([0; 3]) } else { Rgb([255; 3]) });
        let features = ResizedRgb::features(&encoded(image, ImageFormat::Png)).expect("features");
        assert_eq!((features[50], features[180]), (-127.0 / 128.0, 1.0));
        let mean = features.iter().sum::<f32>() / features.len() as f32;
        assert!((mean - 0.5 / 128.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn what_is_not_an_image_is_said_so() {
        for bytes in
            [b"".as_slice(), b"hello", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", b"SIMPLE  =   T"]
        {
            assert_eq!(ResizedRgb::features(bytes), Err(PayloadError::NotAnImage));
        }
    }

    #[test]
    fn a_damaged_image_is_said_so() {
        for (format, name) in [(ImageFormat::Png, "PNG"), (ImageFormat::Jpeg, "JPEG")] {
            let image = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
            let bytes = encoded(image, format);
            // A JPEG decoder may fill a missing end with grey, as all do; without its header nothing can be shown.
            let error = ResizedRgb::features(&bytes[..30]).expect_err("must fail");
            assert!(
                matches!(&error, PayloadError::DamagedImage { format, .. } if *format == name),
                "{error}"
            );
        }
        let png =
            encoded(RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, 1, 2])), ImageFormat::Png);
        let error = ResizedRgb::features(&png[..png.len() / 2]).expect_err("must fail");
        assert!(error.to_string().starts_with("the PNG image is damaged: "), "{error}");
    }

    #[test]
    fn an_image_bomb_is_refused_before_it_is_decoded() {
        let bytes = encoded(GrayImage::new(4_097, 4_096), ImageFormat::Png);
        let error = ResizedRgb::features(&bytes).expect_err("must fail");
        assert_eq!(error, too_large(4_097 * 4_096, "pixels", IMAGE_PIXELS_MAX));
        let long = vec![0; IMAGE_BYTES_MAX + 1];
        assert!(matches!(
            ResizedRgb::features(&long),
            Err(PayloadError::TooLarge { unit: "bytes", .. })
        ));
    }
}
