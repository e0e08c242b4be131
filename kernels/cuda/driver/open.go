package driver

import "errors"

// ErrNone is why Open fails where there is nothing to open.
var ErrNone = errors.New("there is no NVIDIA driver here")
