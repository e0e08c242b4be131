//go:build !amd64

package vec

func detect() ISA { return Generic }
