// Package gridworld generates the grid tasks of the few-shot demo and the
// documents that its model is pretrained on: small grids under rules such as
// mirroring, moving, tiling, recolouring and painting. Pretraining sees single
// rules and some pairs of them; the tasks of reinforcement, tuning and
// evaluation follow pairs that occur nowhere else. docs/demo-fewshot.md tells
// how it was chosen. It imports seal/arc, seal/world for the shape of a recipe,
// and internal/philox; it knows nothing of tensors and files.
package gridworld
