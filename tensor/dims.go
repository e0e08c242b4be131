package tensor

import "fmt"

// maxDims is the most dimensions a tensor has: [batch, heads, rows, columns].
const maxDims = 4

// dims are sizes, or strides in elements, of up to maxDims dimensions. They lie
// within the tensor and compare with ==.
type dims struct {
	n    int
	size [maxDims]int
}

func dimsOf(sizes []int) (d dims) {
	if len(sizes) > maxDims {
		panic(fmt.Sprintf("tensor: %d dimensions, want at most %d", len(sizes), maxDims))
	}
	d.n = copy(d.size[:], sizes)
	for _, n := range sizes {
		if n < 0 {
			panic(fmt.Sprintf("tensor: negative size in shape %v", d))
		}
	}
	return d
}

// count returns the number of elements.
func (d *dims) count() int {
	n := 1
	for _, size := range d.size[:d.n] {
		n *= size
	}
	return n
}

// dense returns the strides of a contiguous tensor of sizes d.
func (d *dims) dense() dims {
	strides := dims{n: d.n}
	n := 1
	for i := d.n - 1; i >= 0; i-- {
		strides.size[i] = n
		n *= d.size[i]
	}
	return strides
}

// rest are the dimensions after the first.
func (d *dims) rest() dims {
	r := dims{n: d.n - 1}
	copy(r.size[:], d.size[1:])
	return r
}

func (d dims) String() string { return fmt.Sprint(d.size[:d.n]) }
