"""Three plain classes over the studio, each in a folder of its own or in your home: train, publish, draw.

    training = TrainingService("work")
    id = training.start_replicate_training("photos/", trigger="zibbo", kind="character", class_word="character")
    print(training.wait(id).state)
    place = training.upload_to_hugging_face(id, "zibbo-lora", private=False)
    TogetherService().generate_with_lora("zibbo in the snow", [f"{place.repo}:0.9"], out="pictures")

Tokens come from where all of Limner finds them (environment, ``.env``, keyring). The same call again, after a crash
too, goes on with what was started, and pays nothing a second time. ``studio`` is the rest of Limner over its folder.
"""

from limner.services.hugging_face import HuggingFaceService
from limner.services.together import TogetherService
from limner.services.training import TrainingService

__all__ = ["HuggingFaceService", "TogetherService", "TrainingService"]
