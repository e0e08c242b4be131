// Package world is the demo's world: people drawn from a seed, passages that
// tell eight things about each, questions about them, notes in good and bad
// styles, and the documents on which a small model is pretrained. Its tasks
// are ordinary articles: the self-edit loop runs them with ordinary settings,
// prompts replaced. It imports philox and nothing else of the project; it
// knows no tensors, tokens or files.
package world
