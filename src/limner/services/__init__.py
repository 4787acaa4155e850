"""Three plain classes over the same code as the studio's, usable without a store: train, publish, draw.

    training = TrainingService("work")
    id = training.start_replicate_training("photos/", trigger="zibbo", kind="character", class_word="character")
    print(training.check_training_status(id).progress)
    place = training.upload_to_hugging_face(id, "zibbo-lora", private=False)
    TogetherService().generate_with_lora("zibbo in the snow", [f"{place.repo}:0.9"], out="pictures")

Tokens come from where all of Limner finds them (environment, ``.env``, keyring). All state of a training is in its
folder: the same call again, after a crash too, goes on with what was started, and pays nothing a second time as long as
the vendor still lists the job. The studio's book of payments is stricter; use it where money matters much.
"""

from limner.services.hugging_face import HuggingFaceService
from limner.services.together import TogetherService
from limner.services.training import TrainingService

__all__ = ["HuggingFaceService", "TogetherService", "TrainingService"]
