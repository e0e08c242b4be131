package emu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// packParams lays out the arguments as the kernel declares its parameters.
func packParams(k *fn, args []any) ([]byte, error) {
	if len(args) == 1 {
		if b, ok := args[0].(Packed); ok {
			if len(b) != k.size {
				return nil, fmt.Errorf("emu: launch of %s with a block of %d bytes; its parameters take %d", k.name, len(b), k.size)
			}
			return slices.Clone(b), nil
		}
	}
	if len(args) != len(k.params) {
		return nil, fmt.Errorf("emu: launch of %s with %d arguments; it has %d parameters", k.name, len(args), len(k.params))
	}
	buf := make([]byte, k.size)
	for i, a := range args {
		p := k.params[i]
		b, err := argBytes(a)
		if err != nil {
			return nil, fmt.Errorf("emu: launch of %s: argument %d: %w", k.name, i, err)
		}
		if len(b) != p.size {
			return nil, fmt.Errorf("emu: launch of %s: argument %d is %T of %d bytes; parameter %s has %d", k.name, i, a, len(b), p.v.Name, p.size)
		}
		copy(buf[p.off:], b)
	}
	return buf, nil
}

func argBytes(a any) ([]byte, error) {
	switch v := a.(type) {
	case Bytes:
		return v, nil
	case []byte:
		return v, nil
	case nil:
		return make([]byte, 8), nil
	case Ptr:
		return binary.LittleEndian.AppendUint64(nil, uint64(v)), nil
	case int:
		return nil, errors.New("int has no fixed width; pass int32 or int64")
	case uint:
		return nil, errors.New("uint has no fixed width; pass uint32 or uint64")
	case bool:
		if v {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	}
	switch reflect.TypeOf(a).Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Struct, reflect.Array:
		b, err := binary.Append(nil, binary.LittleEndian, a)
		if err != nil {
			return nil, fmt.Errorf("%T is not supported: %w", a, err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("%T is not supported; pass Ptr, a number of fixed width, or Bytes", a)
}
