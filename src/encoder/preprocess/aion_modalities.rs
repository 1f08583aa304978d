//! The modalities that AION-1 knows (Parker et al. 2025, arXiv:2510.17960, appendix B).

/// How the tokens of a modality lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AionLayout {
    /// At fixed places, as pixels and the bins of spectra are; each place has its position.
    Grid,
    /// One after the other; positions are counted over those that are there.
    Sequence,
}

/// A modality's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AionModality {
    /// Name in the weights and in inputs.
    pub key: &'static str,
    /// Name of its codec's folder.
    pub codec: &'static str,
    /// Ids that a token can have.
    pub vocabulary: i64,
    /// Positions in the weights.
    pub positions: i64,
    /// Number of the modality beside each token.
    pub id: i32,
    /// How its tokens lie.
    pub layout: AionLayout,
}

const fn grid(
    key: &'static str,
    codec: &'static str,
    (vocabulary, positions): (i64, i64),
    id: i32,
) -> AionModality {
    AionModality { key, codec, vocabulary, positions, id, layout: AionLayout::Grid }
}

const fn scalar(key: &'static str, codec: &'static str, id: i32) -> AionModality {
    grid(key, codec, (1024, 1), id)
}

/// First entries of the catalogue's vocabulary, before those of its codec.
pub const AION_CATALOG_OFFSET: i64 = 204;

/// All of them, by the keys of the published weights.
pub const AION_MODALITIES: [AionModality; 40] = [
    grid("tok_image", "image", (4375, 576), 18_665),
    grid("tok_image_hsc", "image", (4375, 576), 13_799),
    grid("tok_segmap", "segmentation_map", (1000, 144), 11_864),
    grid("tok_spectrum_desi", "spectrum", (1024, 273), 289),
    grid("tok_spectrum_sdss", "spectrum", (1024, 273), 2_489),
    grid("tok_xp_bp", "bp_coefficients", (1024, 55), 14_064),
    grid("tok_xp_rp", "rp_coefficients", (1024, 55), 13_385),
    AionModality {
        key: "catalog",
        codec: "catalog",
        vocabulary: 3_468,
        positions: 512,
        id: 12_119,
        layout: AionLayout::Sequence,
    },
    grid("tok_z", "Z", (1025, 1), 9_755),
    scalar("tok_flux_g", "FLUX_G", 14_685),
    scalar("tok_flux_r", "FLUX_R", 27_058),
    scalar("tok_flux_i", "FLUX_I", 7_805),
    scalar("tok_flux_z", "FLUX_Z", 9_109),
    scalar("tok_flux_w1", "FLUX_W1", 23_337),
    scalar("tok_flux_w2", "FLUX_W2", 12_933),
    scalar("tok_flux_w3", "FLUX_W3", 23_208),
    scalar("tok_flux_w4", "FLUX_W4", 14_980),
    scalar("tok_ebv", "EBV", 20_985),
    scalar("tok_shape_r", "SHAPE_R", 19_813),
    scalar("tok_shape_e1", "SHAPE_E1", 14_025),
    scalar("tok_shape_e2", "SHAPE_E2", 16_284),
    scalar("tok_mag_g", "g_cmodel_mag", 28_104),
    scalar("tok_mag_r", "r_cmodel_mag", 25_658),
    scalar("tok_mag_i", "i_cmodel_mag", 32_529),
    scalar("tok_mag_z", "z_cmodel_mag", 23_041),
    scalar("tok_mag_y", "y_cmodel_mag", 6_731),
    scalar("tok_a_g", "a_g", 17_883),
    scalar("tok_a_r", "a_r", 1_702),
    scalar("tok_a_i", "a_i", 25_778),
    scalar("tok_a_z", "a_z", 21_929),
    scalar("tok_a_y", "a_y", 21_195),
    scalar("tok_shape11", "i_sdssshape_shape11", 19_508),
    scalar("tok_shape22", "i_sdssshape_shape22", 24_183),
    scalar("tok_shape12", "i_sdssshape_shape12", 31_216),
    scalar("tok_flux_g_gaia", "phot_g_mean_flux", 13_180),
    scalar("tok_flux_bp_gaia", "phot_bp_mean_flux", 19_762),
    scalar("tok_flux_rp_gaia", "phot_rp_mean_flux", 29_689),
    scalar("tok_parallax", "parallax", 2_340),
    scalar("tok_ra", "ra", 17_409),
    scalar("tok_dec", "dec", 12_082),
];

/// The modality of a key.
pub fn aion_modality(key: &str) -> Option<&'static AionModality> {
    AION_MODALITIES.iter().find(|info| info.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_numbers_are_given_once() {
        for (place, info) in AION_MODALITIES.iter().enumerate() {
            let same = |other: &AionModality| other.key == info.key || other.id == info.id;
            assert!(!AION_MODALITIES[..place].iter().any(same), "{}", info.key);
            assert_eq!(aion_modality(info.key), Some(info));
        }
        assert_eq!(aion_modality("tok_image_ls"), None);
    }
}
