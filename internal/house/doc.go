// Package house holds tests of the repository as a whole: which package may
// import which, that an op has the same name at every layer, and that files,
// names and documents keep the rules of CONTRIBUTING.md. It has no code of its
// own and imports nothing of the project.
package house
