//! Networks as their authors published them, loaded by the published names of their tensors.
//!
//! Each one follows the module that its authors run, also where that differs from the paper; golden outputs of that module
//! are what [`goldens`] holds them against. What a file has beside the encoder (decoders, heads and queues of the
//! training) is passed over by name; anything else that is missing, unknown or of another shape is refused.

mod aion;
mod astroclip;
mod astrodino;
pub(crate) mod goldens;
mod layers;
mod network;
mod resnet;
mod script;
mod specformer;
mod trace;
mod vit;

pub(crate) use network::load;
