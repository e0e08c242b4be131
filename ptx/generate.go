package ptx

//go:generate go run -tags ptxbootstrap ./internal/genmethods
