//go:build !amd64

package num

func detect() Level { return Generic }
