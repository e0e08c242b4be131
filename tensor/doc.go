// Package tensor gives shapes, views and automatic differentiation to the ops of
// package kernels. Every op is a function whose backward stands directly beneath
// it in the file of the op's name. Tensors live in the memory of a Device; what
// an op makes belongs to the Tape it ran on and is freed as early as the
// backward pass allows; what is cheap to compute again is not even kept that long.
// A tape that is used again for the next step makes nothing on the Go heap.
//
// It is the only package that names concrete backends. It must not import nn or
// anything above it.
package tensor
