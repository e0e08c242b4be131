package kernels

// FillArgs: Dst[i] = Value for i < N. Float storage, or i32 (Value truncated).
type FillArgs struct {
	Dst   Buffer
	N     int
	Value float32
}
