package report

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Figures are drawn in units of a CSS pixel on a phone, so that their letters
// are as large there as the text around them.
const (
	figureWidth = 340
	fontSize    = 12
)

// ink is a colour of the page's style sheet. It is drawn as a stand-in, which
// themed replaces by the name: only so do figures follow light and dark.
type ink uint8

const (
	inkText ink = iota
	inkMuted
	inkGrid
	inkSeries // and the following ones
)

// seriesInks is how many colours of series the style sheet has.
const seriesInks = 4

func series(i int) ink { return inkSeries + ink(i%seriesInks) }

func (i ink) color() color.Color { return color.RGBA{0xf0, 0x0d, byte(i), 0xff} }

// name is the style sheet's property.
func (i ink) name() string {
	switch i {
	case inkText:
		return "--text"
	case inkMuted:
		return "--muted"
	case inkGrid:
		return "--grid"
	}
	return fmt.Sprintf("--series%d", i-inkSeries+1)
}

var (
	standIn = regexp.MustCompile(`#F00D([0-9A-F]{2})`)
	family  = regexp.MustCompile(`font-family:[^;"]*;(font-(?:weight|style):[^;"]*;)*`)
	opening = regexp.MustCompile(`(?s)^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>`)
)

// newPlot returns an empty plot in the page's inks.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Color = inkMuted.color()
		axis.LineStyle.Width = 1
		axis.Tick.LineStyle.Color = inkMuted.color()
		axis.Tick.LineStyle.Width = 1
		axis.Tick.Length = 4
		axis.Tick.Label.Color = inkText.color()
		axis.Tick.Label.Font = sans(fontSize)
		axis.Label.TextStyle.Color = inkMuted.color()
		axis.Label.TextStyle.Font = sans(fontSize)
		axis.Padding = 4
	}
	return p
}

func sans(size font.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func textStyle(i ink, x draw.XAlignment, y draw.YAlignment) text.Style {
	return text.Style{
		Color: i.color(), Font: sans(fontSize), XAlign: x, YAlign: y,
		Handler: plot.DefaultTextHandler,
	}
}

// render draws p as an SVG element to be put into the page. about is what a
// screen reader says.
func render(p *plot.Plot, height vg.Length, about string) (string, error) {
	canvas := vgsvg.NewWith(vgsvg.UseWH(figureWidth, height))
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("drawing the figure %q: %w", about, err)
	}
	svg := themed(b.String())
	return opening.ReplaceAllStringFunc(svg, func(tag string) string {
		box := opening.FindStringSubmatch(tag)[1]
		return fmt.Sprintf(`<svg viewBox="%s" role="img" aria-label="%s">`, box, html.EscapeString(about))
	}), nil
}

// themed replaces stand-ins by the style sheet's colours and drops font names.
func themed(svg string) string {
	svg = family.ReplaceAllString(svg, "")
	return standIn.ReplaceAllStringFunc(svg, func(s string) string {
		var i ink
		fmt.Sscanf(strings.TrimPrefix(s, "#F00D"), "%X", &i)
		return "var(" + i.name() + ")"
	})
}
