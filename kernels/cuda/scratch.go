package cuda

import "github.com/selkie-ml/selkie/kernels"

// borrow takes memory for the launches of one op. When they are enqueued the op frees
// it: what is enqueued later may use it anew.
func (b *Backend) borrow(op string, bytes int64) (kernels.Buffer, bool) {
	m, err := b.Alloc(bytes)
	if err != nil {
		b.fail(op, err)
		return kernels.Buffer{}, false
	}
	return kernels.Buffer{Mem: m, DType: kernels.F32}, true
}
