//! Tensors as a damaged or strange network may give them: any bits as numbers.
#![no_main]

use edge_agent::detect::decode::decode;
use edge_agent::detect::model::Description;
use edge_agent::detect::mosaic::Tile;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static NETWORKS: LazyLock<[Description; 2]> = LazyLock::new(|| {
    [
        include_str!("../../models/nanodet-g-416-int8/model.toml"),
        include_str!("../../models/yolox-nano-416/model.toml"),
    ]
    .map(|text| Description::parse(text).expect("a shipped description"))
});
const PICTURE: (u32, u32) = (1920, 1080);

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else {
        return;
    };
    let network = &NETWORKS[usize::from(first % 2)];
    let values: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|bits| f32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]))
        .collect();
    if values.is_empty() {
        return;
    }
    // As many numbers as the network gives, the input over and over.
    let tensors: Vec<Vec<f32>> = network
        .outputs()
        .iter()
        .map(|(_, shape)| {
            let count: i64 = shape.iter().product();
            let count = usize::try_from(count).expect("shapes are positive");
            values.iter().copied().cycle().take(count).collect()
        })
        .collect();
    let slices: Vec<&[f32]> = tensors.iter().map(Vec::as_slice).collect();
    let boxes = decode(
        network,
        &slices,
        Tile::whole(&network.input, PICTURE).scale,
        PICTURE,
        0.3,
    );
    for found in boxes {
        assert!(found.x1 >= 0.0 && found.y1 >= 0.0 && found.x2 <= 1920.0 && found.y2 <= 1080.0);
        assert!(found.score >= 0.3 && usize::from(found.label) < network.labels.len());
    }
});
