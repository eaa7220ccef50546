"""layouts - what datasets.py knows of each data set's folder: which images are in a split, and of which class."""
from layouts.files import Failure, first_few  # noqa: F401
from layouts.folders import image_folder, imagenet_v2, wnid_folders
from layouts.imagenet import imagenet
from layouts.transfer import fgvc_aircraft, flowers102, food101, oxford_pets, stanford_cars, sun397

LAYOUTS = {
    "image-folder": image_folder,
    "imagenet": imagenet,
    "imagenet-v2": imagenet_v2,
    "imagenet-r": wnid_folders,
    "imagenet-a": wnid_folders,
    "imagenet-sketch": wnid_folders,
    "flowers102": flowers102,
    "oxford-pets": oxford_pets,
    "stanford-cars": stanford_cars,
    "fgvc-aircraft": fgvc_aircraft,
    "food101": food101,
    "sun397": sun397,
}


def read(options):
    """The Data of a split."""
    return LAYOUTS[options.layout](options)
