package ptx

// Form is a row of the instruction table. (Placeholder, replaced with the table.)
type Form struct{}
