"""Reading and writing image files, DICOM, archives and safetensors; images as uint8 tensors."""
