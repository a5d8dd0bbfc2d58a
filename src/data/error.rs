//! Everything that can be wrong with a data set, in words for the person who has to fix it.
//!
//! Each message names the file and the place in it, what was expected there, what was found, and
//! what to do. Messages are complete in themselves: none has a `source()` to be printed after it.

use std::io;
use std::path::PathBuf;

use crate::files::WriteError;

/// Why a data set could not be loaded or split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system would not give us the file or folder.
    #[error(
        "cannot read {}: {reason}. Check that the path exists and that you may read it",
        path.display()
    )]
    CannotRead { path: PathBuf, reason: io::Error },

    /// Nothing that we can read data from.
    #[error(
        "{}: expected IDX files (train-images-idx3-ubyte and the like), a table ending in .csv or .csv.gz, or a folder of pictures for each class; found {found}",
        path.display()
    )]
    UnknownSource { path: PathBuf, found: String },

    /// A class with nothing in it to learn from.
    #[error(
        "{}: expected pictures of this class, found none that can be read. Add some, or remove the folder",
        folder.display()
    )]
    EmptyClass { folder: PathBuf },

    /// Labels that are all the same.
    #[error(
        "{}: all training images have the label {label}: expected at least two classes. Add images of other classes",
        path.display()
    )]
    OneClass { path: PathBuf, label: u32 },

    /// A class to test on that has no pictures to train with.
    #[error(
        "{}: there are no pictures of this class to train with. Add some under {}, or remove the folder",
        folder.display(), train.display()
    )]
    NotTrained { folder: PathBuf, train: PathBuf },

    /// Everything would be set aside.
    #[error("--hold-out is {wanted}; it must be below {len}, the number of images")]
    HoldOut { wanted: usize, len: usize },

    /// Nothing would be left to learn a class from.
    #[error(
        "the class {class:?} has no image left to train on when --{flag} sets {wanted} aside. Add images of it, or \
         set fewer aside (--{flag} 0 sets none aside)"
    )]
    ClassSetAside { class: String, flag: &'static str, wanted: usize },

    /// A set that was made in memory, with parts that do not fit each other.
    #[error("{set}: {problem}")]
    Unfit { set: String, problem: String },

    /// A model was trained on other classes.
    #[error(
        "the data has the classes {data}, but the model knows {model}. Give data with the model's classes, or with some of them{hint}"
    )]
    OtherClasses { data: String, model: String, hint: &'static str },

    /// The operating system would not take the file.
    #[error(transparent)]
    Write(#[from] WriteError),

    /// A folder has no file of a kind that we need.
    #[error(
        "no {what} in the folder {}: looked for {looked_for} (each raw or .gz), found {found}. \
         Put the file there under one of these names",
        folder.display()
    )]
    Missing { folder: PathBuf, what: &'static str, looked_for: String, found: String },

    /// A folder has several files that could all be the one we need.
    #[error(
        "more than one candidate for the {what} in the folder {}: expected one, found {found}. \
         Keep one and move the others away",
        folder.display()
    )]
    Ambiguous { folder: PathBuf, what: &'static str, found: String },

    /// A gzip file stops before its end.
    #[error(
        "{}: the gzip stream is cut off after {decompressed} decompressed bytes: expected it to \
         end in a checksum, found the end of the file. Fetch or compress the file again",
        path.display()
    )]
    TruncatedGzip { path: PathBuf, decompressed: u64 },

    /// A gzip file is damaged, or something follows it.
    #[error(
        "{}: the gzip stream is damaged after {decompressed} decompressed bytes: expected valid \
         gzip data up to the end of the file, found: {reason}. Fetch or compress the file again",
        path.display()
    )]
    CorruptGzip { path: PathBuf, decompressed: u64, reason: io::Error },

    /// The first bytes are not those of an IDX file.
    #[error(
        "{}: not an IDX file: expected it to begin with the bytes 00 00 08, found {found}. \
         Convert the data to IDX, or point to another file",
        path.display()
    )]
    NotIdx { path: PathBuf, found: String },

    /// The elements are not unsigned bytes.
    #[error(
        "{}: wrong element type at byte 2: expected 0x08 (unsigned byte), found {found:#04x} \
         ({name}). Rescale the data to 0..=255 and write it as unsigned bytes",
        path.display()
    )]
    WrongElementType { path: PathBuf, found: u8, name: &'static str },

    /// The number of dimensions does not fit what the file should hold.
    #[error(
        "{}: wrong number of dimensions at byte 3: expected {expected}, found {found}. Check that \
         the image and label files are not swapped",
        path.display()
    )]
    WrongRank { path: PathBuf, expected: &'static str, found: u8 },

    /// A dimension in the header is zero.
    #[error(
        "{}: empty: expected {dimension} of at least 1 at byte {offset}, found 0 in the \
         shape {shape}. Write the file again with at least one element",
        path.display()
    )]
    Empty { path: PathBuf, dimension: &'static str, offset: u64, shape: String },

    /// The fourth dimension is not a number of channels that we support.
    #[error(
        "{}: wrong number of channels at byte 16: expected 1 to 4, found {found}. The dimensions \
         must come in the order images, height, width, channels",
        path.display()
    )]
    WrongChannels { path: PathBuf, found: u32 },

    /// The header asks for more than we are willing to hold in memory.
    #[error(
        "{}: too large: expected at most {limit} bytes, found the shape {shape} in the header. If \
         the file is not that large its header is damaged; if it is, use fewer images",
        path.display()
    )]
    TooLarge { path: PathBuf, shape: String, limit: u64 },

    /// The memory for the contents could not be allocated.
    #[error(
        "{}: not enough memory: it needs {expected} bytes, but memory ran out after {found}. Close other programs or \
         use fewer images",
        path.display()
    )]
    OutOfMemory { path: PathBuf, expected: u64, found: u64 },

    /// The file ends too early.
    #[error(
        "{}: truncated: expected {expected} bytes (uncompressed), found {found}. Fetch or write \
         the file again",
        path.display()
    )]
    Truncated { path: PathBuf, expected: u64, found: u64 },

    /// The file goes on after its last element.
    #[error(
        "{}: trailing bytes from byte {expected} on: expected {expected} bytes (uncompressed), \
         found {found}. The header does not match the contents: write the file again",
        path.display()
    )]
    TrailingBytes { path: PathBuf, expected: u64, found: u64 },

    /// Images and labels differ in number.
    #[error(
        "images and labels differ in number: expected as many labels in {} as there are images in \
         {} ({images}), found {labels}. Check that the two files belong together",
        labels_path.display(), images_path.display()
    )]
    CountMismatch { images_path: PathBuf, images: usize, labels_path: PathBuf, labels: usize },

    /// A line of a CSV file is not an image.
    #[error("{}, line {line}: {problem}", path.display())]
    Csv { path: PathBuf, line: u64, problem: String },

    /// A label is not below the number of classes.
    #[error(
        "{}: label out of range at index {index}: expected a label below {classes}, found \
         {label}. Number the classes from 0; the training set must have images of each",
        path.display()
    )]
    LabelOutOfRange { path: PathBuf, index: usize, label: u32, classes: usize },

    /// Training and test images do not have the same size.
    #[error(
        "{}: images differ in size from the training set's: expected {expected} (height x width x channels) as in \
         {}, found {found}. Bring both to the same size",
        test_path.display(), train_path.display()
    )]
    SizeMismatch { train_path: PathBuf, expected: String, test_path: PathBuf, found: String },

    /// More validation images were asked for than can be spared.
    #[error(
        "cannot set aside {validation} images for validation: there are only {len}, and some must be left to train \
         on. Ask for fewer with --validation"
    )]
    ValidationTooLarge { validation: usize, len: usize },
}
