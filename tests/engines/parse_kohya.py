"""Read a dataset package with sd-scripts' own parser, as its FLUX trainer does, and say what it will train on.

``python parse_kohya.py CHECKOUT``, in the package's folder. Prints JSON: resolution, repeats, batch size, buckets, and
the caption of each picture. What the trainer refuses ends in its own exception.
"""

from __future__ import annotations

import argparse
import json
import sys

from read_with import sd_scripts_imports


def main() -> None:
    sys.path[0] = sys.argv[1]
    sd_scripts_imports()
    from flux_train_network import FluxNetworkTrainer, setup_parser
    from library import config_util

    args = setup_parser().parse_args(
        [
            "--dataset_config",
            "dataset.toml",
            "--cache_text_encoder_outputs",
            "--cache_latents",
            "--network_train_unet_only",
        ]
    )
    generator = config_util.BlueprintGenerator(config_util.ConfigSanitizer(True, True, args.masked_loss, True))
    blueprint = generator.generate(config_util.load_user_config("dataset.toml"), argparse.Namespace(**vars(args)))
    group, validation = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    FluxNetworkTrainer().assert_extra_args(args, group, validation)
    (dataset,) = group.datasets
    dataset.make_buckets()
    pictures = sorted(dataset.image_data.values(), key=lambda each: each.absolute_path)
    print(
        json.dumps(
            {
                "resolution": [dataset.width, dataset.height],
                "batch_size": dataset.batch_size,
                "repeats": [each.num_repeats for each in dataset.subsets],
                "captions": {each.absolute_path: each.caption for each in pictures},
                "buckets": [list(each) for each in dataset.bucket_manager.resos],
            }
        )
    )


if __name__ == "__main__":
    main()
