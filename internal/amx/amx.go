// Package amx tells whether this process may multiply bf16 in tile registers
// (Intel AMX). Linux keeps their large state from a process until it asks, once,
// for all its threads to come.
//
// It imports nothing of this module.
package amx
