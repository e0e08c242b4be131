package kernel

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// CrossEntropy goes over the logits twice, and keeps none of them. Rows that have a
// target are brought together first. Then, for chunks of the vocabulary, tiles of logits
// leave the maximum and the sum of exponentials of each of their rows, which are merged
// in order. The second time they leave the gradient of a chunk, which is multiplied
// by the chunk of W, and of X, at once.
const (
	// LossStats is the vocabulary of a chunk whose statistics exist at once.
	LossStats = 1 << 14
	// LossBytes is about how much the gradient of a chunk may take.
	LossBytes = 32 << 20

	lossThreads = 1024
)

// LossRows finds the rows with targets: before[i] of them stand before row i of rows+1,
// list has their places, and wanted their targets. A target that there is not is refused, and
// so are starts that do not ascend within the rows: then no row has a target.
type LossRows struct{ Starts bool }

// Name implements Any.
func (p LossRows) Name() string { return name("loss_rows", p.Starts) }

// Launch is the launch for any number of rows.
func (p LossRows) Launch() Launch { return lines(1, lossThreads) }

// Emit implements Any: loss_rows(before, list, wanted, targets, rows, vocab, starts, nseq, fault, fault_tag, starts_tag).
func (p LossRows) Emit(k *ptx.Builder) {
	k.RequireThreads(lossThreads)
	before, list, wanted, targets := k.ParamGlobal("before"), k.ParamGlobal("list"), k.ParamGlobal("wanted"), k.ParamGlobal("targets")
	rows, vocab := k.ParamU32("rows"), k.ParamU32("vocab")
	starts, nseq := k.ParamGlobal("starts"), k.ParamU32("nseq")
	refuse := newFaults(k)
	refuseStarts := faults{k, refuse.at, k.ParamU32("starts_tag")}
	const warps = lossThreads / 32
	counts, wrong := k.Shared("counts", ptx.U32, warps, 0), k.Shared("wrong", ptx.U32, 1, 0)
	tid := k.TidX()
	lane, warp := tid.Mod(32), tid.DivBy(32)

	k.If(k.SetpEqU32(tid, ptx.I(0)), func() { k.StU32(wrong, ptx.I(0)) })
	k.BarSync(0)
	if p.Starts {
		k.For(tid, nseq, ptx.I(lossThreads), func(s ptx.RegU32) {
			at := starts.Elem(s, ptx.S32)
			from, to := k.LdU32(at), k.LdU32(at.Plus(4)) // a negative one is a large one
			bad := k.SetpGtU32(from, to).Or(k.SetpGtU32(to, rows))
			refuseStarts.report(bad, s, to)
			k.If(bad, func() { k.AtomOrB32(wrong, ptx.I(1)) })
		})
		k.BarSync(0)
	}
	limit := k.SelpU32(vocab, ptx.I(0), k.SetpEqU32(k.LdU32(wrong), ptx.I(0)))
	total := k.VarU32(ptx.I(0))
	k.For(ptx.I(0), rows, ptx.I(lossThreads), func(first ptx.RegU32) {
		i := first.Add(tid)
		exists := k.SetpLtU32(i, rows)
		t := k.LdU32(targets.Elem(k.MinU32(i, rows.Plus(-1)), ptx.S32))
		refuse.report(exists.And(k.SetpGeS32(t, vocab)), i, t)
		active := exists.And(k.SetpLtU32(t, limit))
		votes := k.Ballot(active, ptx.FullMask)
		k.If(k.SetpEqU32(lane, ptx.I(0)), func() { k.StU32(counts.Elem(warp, ptx.U32), k.PopcB32(votes)) })
		k.BarSync(0)
		at := k.VarU32(total)
		for w := range warps {
			n := k.LdU32(counts.Plus(4 * w))
			k.AddU32To(total, total, n)
			k.AddU32To(at, at, k.SelpU32(n, ptx.I(0), k.SetpGtU32(warp, ptx.I(w))))
		}
		lower := k.ShlB32(ptx.I(1), lane).AsU32().Plus(-1)
		k.AddU32To(at, at, k.PopcB32(votes.AsU32().And(lower)))
		k.If(exists, func() { k.StU32(before.Elem(i, ptx.U32), at) })
		k.If(active, func() {
			k.StU32(list.Elem(at, ptx.U32), i)
			k.StU32(wanted.Elem(at, ptx.U32), t)
		})
		k.BarSync(0)
	})
	k.If(k.SetpEqU32(tid, ptx.I(0)), func() { k.StU32(before.Elem(rows, ptx.U32), total) })
}

// LossGather brings the rows of x with targets together, in rows of stride elements
// whose rest is zero. Rows without a target cost nothing: their results are 0.
type LossGather struct {
	X, To kernels.DType
	DX    bool
}

// Name implements Any.
func (p LossGather) Name() string { return name("loss_gather", p.X, p.To, p.DX) }

// Launch is the launch for so many rows.
func (p LossGather) Launch(rows int) Launch { return lines(rows, elementThreads) }

// Emit implements Any: loss_gather(to, x, before, targets, logprob, dx, dim, stride).
func (p LossGather) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	to, x, before, targets := k.ParamGlobal("to"), k.ParamGlobal("x"), k.ParamGlobal("before"), k.ParamGlobal("targets")
	logProb, dx := k.ParamGlobal("logprob"), k.ParamGlobal("dx")
	dim, stride := k.ParamU32("dim"), k.ParamU32("stride")
	i, tid := k.CtaidX(), k.TidX()
	place := before.Elem(i, ptx.U32)
	c := k.LdU32(place)
	k.IfElse(k.SetpNeU32(c, k.LdU32(place.Plus(4))), func() {
		from, line := row(k, x, i, dim, p.X), row(k, to, c, stride, p.To)
		k.For(tid, stride, ptx.I(elementThreads), func(j ptx.RegU32) {
			v := k.VarF32(ptx.F(0))
			k.If(k.SetpLtU32(j, dim), func() { ptx.Set(k, v, load(k, at(from, j, p.X), p.X)) })
			store(k, at(line, j, p.To), p.To, v)
		})
	}, func() {
		k.If(k.SetpLtS32(k.LdS32(targets.Elem(i, ptx.S32)), ptx.I(0)), func() {
			k.If(k.SetpEqU32(tid, ptx.I(0)), func() { k.StF32(logProb.Elem(i, ptx.F32), ptx.F(0)) })
			if p.DX {
				line := row(k, dx, i, dim, kernels.F32)
				k.For(tid, dim, ptx.I(elementThreads), func(j ptx.RegU32) { k.StF32(line.Elem(j, ptx.F32), ptx.F(0)) })
			}
		})
	})
}

// lossColumns is how many columns a warp has of a tile of logits: rows' sums over columns
// follow from it.
const lossColumns = 64

// LossLogits computes tiles of logits of a chunk of the vocabulary, and leaves their
// statistics or, Gradient, the gradient of the loss.
type LossLogits struct {
	Tile
	Gradient bool
	Both     bool // the gradient also in f32
}

// Name implements Any.
func (p LossLogits) Name() string { return name("loss_logits", p.Tile, p.Gradient, p.Both) }

// Launch is the launch for at most so many rows, and a chunk of so many columns.
func (p LossLogits) Launch(rows, cols int) Launch {
	l := lines(CeilDiv(rows, p.BM)*CeilDiv(cols, p.BN), p.Threads())
	l.Shared = p.Shared()
	return l
}

// Blocks is how many statistics a row has of a chunk of so many columns.
func (p LossLogits) Blocks(cols int) int { return CeilDiv(cols, p.BN) * p.WarpsN }

// LossBlocks is the most that Blocks is, for tiles of up to 256 columns.
func LossBlocks(cols int) int { return CeilDiv(cols, 256) * 256 / lossColumns }

// group is how many neighbouring lanes have sums of the same rows.
func (t Tile) group() int {
	if t.Mma() {
		return 4
	}
	return 8
}

// Emit implements Any. v0 is the chunk's first column, cols how many it has, x the
// gathered rows, stride elements apart, before[rows] how many they are:
//
//	loss_logits(x, w, wanted, before, rows, dim, stride, v0, cols, stats, hit, blocks), or with Gradient
//	loss_logits(x, w, wanted, before, rows, dim, stride, v0, cols, g, full, width, top, list, weights).
func (p LossLogits) Emit(k *ptx.Builder) {
	if p.BN != lossColumns*p.WarpsN || p.BN > 256 {
		panic(fmt.Sprintf("kernels/cuda/kernel: tile %v: the loss needs %d columns for each warp, and at most 256", p.Tile, lossColumns))
	}
	k.RequireThreads(p.Threads())
	x, w, wanted, before := k.ParamGlobal("x"), k.ParamGlobal("w"), k.ParamGlobal("wanted"), k.ParamGlobal("before")
	rows, dim, stride := k.ParamU32("rows"), k.ParamU32("dim"), k.ParamU32("stride")
	v0, cols := k.ParamU32("v0"), k.ParamU32("cols")
	shared := k.DynamicShared(tileAlign).Alloc(p.Shared(), tileAlign)
	emit := p.stats
	if p.Gradient {
		emit = p.gradient
	}
	use := emit(k, wanted, v0, cols)

	count := k.LdU32(before.Elem(rows, ptx.U32))
	tilesM, tilesN := count.CeilDivBy(p.BM), cols.CeilDivBy(p.BN)
	k.If(k.SetpLtU32(k.CtaidX(), tilesM.Mul(tilesN)), func() {
		bm, bn := raster(k, k.CtaidX(), tilesM, tilesN)
		row0, col0 := bm.Times(p.BM), bn.Times(p.BN)
		product := p.begin(k, shared)
		product.add(source{row(k, x, row0, stride, p.A), stride, count.Sub(row0)},
			source{row(k, w, v0.Add(col0), dim, p.B), dim, cols.Sub(col0)}, dim)
		s := product.sums()
		for i := 0; i < len(s.runs); {
			j := i
			for j < len(s.runs) && s.runs[j].row == s.runs[i].row {
				j++
			}
			r := row0.Add(s.row.Plus(s.runs[i].row))
			use(r, k.SetpLtU32(r, count), bn, col0.Add(s.col), s.runs[i:j])
			i = j
		}
	})
}

// rowOfTile is called for each row of a thread's sums, by all lanes: whether the row
// exists, the tile's number among those of the row, and the runs, that count from col.
type rowOfTile func(r ptx.RegU32, exists ptx.RegPred, tile, col ptx.RegU32, runs []run)

// stats leaves pairs {maximum, Σ exp(z − maximum)} of the columns that a warp has, and
// the logit of the row's target if it is among them.
func (p LossLogits) stats(k *ptx.Builder, wanted ptx.GlobalPtr, v0, cols ptx.RegU32) rowOfTile {
	stats, hit, blocks := k.ParamGlobal("stats"), k.ParamGlobal("hit"), k.ParamU32("blocks")
	lane, warp := k.TidX().Mod(32), k.TidX().DivBy(32)
	return func(r ptx.RegU32, exists ptx.RegPred, tile, col ptx.RegU32, runs []run) {
		var in []ptx.RegPred
		top := k.VarF32(ptx.F(math.Inf(-1)))
		want := k.VarU32(ptx.I(-1))
		k.If(exists, func() { k.SubU32To(want, k.LdU32(wanted.Elem(r, ptx.U32)), v0) })
		for _, run := range runs {
			for e, z := range run.v {
				c := col.Plus(run.col + e)
				in = append(in, k.SetpLtU32(c, cols))
				k.Guard(in[len(in)-1], func() { k.MaxF32To(top, top, z) })
				// Nobody wants a column beyond: a target lies below the vocabulary.
				k.Guard(k.SetpEqU32(c, want), func() { k.StF32(hit.Elem(r, ptx.F32), z) })
			}
		}
		top = ptx.WarpReduce(k, top, p.group(), func(a, b ptx.RegF32) ptx.RegF32 { return k.MaxF32(a, b) })
		sum := k.VarF32(ptx.F(0))
		for _, run := range runs {
			for _, z := range run.v {
				e := k.Ex2ApproxF32(k.MulF32(k.SubF32(z, top), ptx.F(math.Log2E)))
				k.AddF32To(sum, sum, k.SelpF32(e, ptx.F(0), in[0]))
				in = in[1:]
			}
		}
		sum = ptx.WarpReduce(k, sum, p.group(), func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
		k.If(exists.And(k.SetpEqU32(lane.Mod(p.group()), ptx.I(0))), func() {
			block := k.MadLoU32(tile, ptx.I(p.WarpsN), warp.Mod(p.WarpsN))
			k.StV2F32(row(k, stats, r, blocks.Times(2), kernels.F32).Elem(block.Times(2), ptx.F32), [2]ptx.RegF32{top, sum})
		})
	}
}

// gradient leaves g = weight·(softmax − [target]), columns width apart, zero beyond the chunk.
func (p LossLogits) gradient(k *ptx.Builder, wanted ptx.GlobalPtr, v0, cols ptx.RegU32) rowOfTile {
	g, full, width, top := k.ParamGlobal("g"), k.ParamGlobal("full"), k.ParamU32("width"), k.ParamGlobal("top")
	list, weights := k.ParamGlobal("list"), k.ParamGlobal("weights")
	return func(r ptx.RegU32, exists ptx.RegPred, _, col ptx.RegU32, runs []run) {
		k.If(exists, func() {
			weight := k.LdF32(weights.Elem(k.LdU32(list.Elem(r, ptx.U32)), ptx.F32))
			most := k.LdV2F32(top.Elem(r.Times(2), ptx.F32)) // maximum, log of the sum
			want := k.LdU32(wanted.Elem(r, ptx.U32)).Sub(v0)
			for _, run := range runs {
				var v []ptx.RegF32
				for e, z := range run.v {
					c := col.Plus(run.col + e)
					d := k.SubF32(k.SubF32(z, most[0]), most[1])
					d = k.Ex2ApproxF32(k.MulF32(d, ptx.F(math.Log2E)))
					d = k.SubF32(d, k.SelpF32(ptx.F(1), ptx.F(0), k.SetpEqU32(c, want)))
					v = append(v, k.SelpF32(k.MulF32(d, weight), ptx.F(0), k.SetpLtU32(c, cols)))
				}
				to := col.Plus(run.col)
				stores(k, at(row(k, g, r, width, p.A), to, p.A), p.A, v)
				if p.Both {
					stores(k, at(row(k, full, r, width, kernels.F32), to, kernels.F32), kernels.F32, v)
				}
			}
		})
	}
}
