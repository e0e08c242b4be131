// Package tensor gives shapes, views and automatic differentiation to the ops of
// package kernels. Every op is a function whose backward stands directly beneath
// it in the file of the op's name. Tensors live in the memory of a Device; what
// an op makes belongs to the Tape it ran on and is freed as early as the
// backward pass allows.
//
// It is the only package that names concrete backends. It must not import nn or
// anything above it.
package tensor
