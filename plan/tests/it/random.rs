//! Random bits.

use dlc_plan::random::*;
/// The known answers published with Random123 (`kat_vectors`, lines `philox4x32 10`).
#[test]
fn philox_gives_the_published_answers() {
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
    assert_eq!(philox([!0; 4], [!0; 2]), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
    assert_eq!(
        philox([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0]),
        [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
    );
}

#[test]
fn sixteen_at_once_are_the_single_ones() {
    let (key, high) = key(0x1234_5678_9ABC_DEF0, site_hash("blocks.3.dropout", 1));
    assert_eq!((key[0], high), (0x9ABC_DEF0, 0x1234_5678));
    for row in [0, 1, 77, u32::MAX] {
        for group in [0, 1, 5, 0x0FFF_FFFF] {
            let lanes = bits16(key, 9, high, row, group);
            let single: [u32; 16] = std::array::from_fn(|lane| bits(key, 9, high, row, group * GROUP + lane as u32));
            assert_eq!(lanes, single, "row {row}, group {group}");
        }
    }
}

/// Columns 0, 1 and 4 by hand: block 0 word 0, block 1 word 0, block 0 word 1.
#[test]
fn columns_are_numbered_as_written() {
    let key = [7, 11];
    assert_eq!(bits(key, 2, 3, 5, 0), philox([0, 5, 2, 3], key)[0]);
    assert_eq!(bits(key, 2, 3, 5, 1), philox([1, 5, 2, 3], key)[0]);
    assert_eq!(bits(key, 2, 3, 5, 4), philox([0, 5, 2, 3], key)[1]);
    assert_eq!(bits(key, 2, 3, 5, 31), philox([7, 5, 2, 3], key)[3]);
}

#[test]
fn sites_differ_by_path_and_ordinal() {
    // FNV-1a of the empty text continued with 0xFF and four zero bytes, computed by hand from the definition.
    let by_hand =
        [0xFF_u8, 0, 0, 0, 0].iter().fold(0x811C_9DC5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(16_777_619));
    assert_eq!(site_hash("", 0), by_hand);
    let mut all = Vec::new();
    for layer in 0..100 {
        for ordinal in 0..4 {
            all.push(site_hash(&format!("blocks.{layer}.mlp.drop"), ordinal));
        }
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 400);
}

#[test]
fn uniform_is_in_the_half_open_unit_interval() {
    assert_eq!(uniform(0), 0.0);
    assert_eq!(uniform(u32::MAX), 1.0 - 2f32.powi(-24));
    assert_eq!(uniform(1 << 31), 0.5);
    let draws: Vec<f32> = (0..4096).map(|col| uniform(bits([1, 2], 0, 0, 0, col))).collect();
    let mean = draws.iter().sum::<f32>() / 4096.0;
    assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
}
